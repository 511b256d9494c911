package zeek

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// parseKey is a hash of everything that determines the result of parsing a node's scripts,
// except the files that the scripts load. Nodes with the same key need one parse.
type parseKey [sha256.Size]byte

func (l *Launcher) parseKey(n launch.Node) parseKey {
	h := sha256.New()
	add := func(s string) { fmt.Fprintf(h, "%d %s\n", len(s), s) }
	addFile(h, l.zeek().binary, 0)
	add(string(n.Role))
	add(n.Site)
	for _, arg := range l.parseArgs(n) {
		add(arg)
	}
	for _, key := range slices.Sorted(maps.Keys(n.Env)) {
		add(key)
		add(n.Env[key])
	}
	for _, script := range slices.Concat(l.common.scripts, l.scriptsOf(n)) {
		for _, file := range l.scriptFiles(n, script) {
			addFile(h, file, maxScript)
		}
	}
	return parseKey(h.Sum(nil))
}

// maxScript limits the number of bytes of a script that are hashed.
const maxScript = 1 << 20

// addFile adds a file to a hash, with its content up to a limit. It ignores a file that is
// missing or not regular.
func addFile(h hash.Hash, name string, limit int64) {
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	fmt.Fprintf(h, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	_, _ = io.Copy(h, io.LimitReader(f, limit)) // the readable part
}

// parsedKeys contains the keys of scripts that loaded in a recent trial, so that the check
// before the start need not parse them again. Later, files that they load may have changed.
type parsedKeys struct {
	mu   sync.Mutex
	keys map[parseKey]time.Time // end of the trial
}

// maxParsed limits the number of keys. All keys are discarded when it is reached. A key is
// valid for the time parsedValid.
const (
	maxParsed   = 10_000
	parsedValid = 2 * time.Minute
)

func (p *parsedKeys) has(k parseKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.keys[k]
	return ok && time.Since(at) < parsedValid
}

// set stores whether scripts have loaded in a trial.
func (p *parsedKeys) set(k parseKey, good bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil || len(p.keys) >= maxParsed {
		p.keys = make(map[parseKey]time.Time)
	}
	delete(p.keys, k)
	if good {
		p.keys[k] = time.Now()
	}
}

// outputDelay limits the time to read the output of a process after its end. Its children may
// keep the output open for longer.
const outputDelay = 10 * time.Second

// tryParse makes Zeek parse the scripts of a node, with its environment and in its
// directory, which may contain scripts. The node may still run there, so the cluster layout
// is in a temporary directory.
func (l *Launcher) tryParse(ctx context.Context, n launch.Node) (zeekapi.NodeOutputs, error) {
	if err := os.MkdirAll(l.checksDir(), 0o755); err != nil {
		return zeekapi.NodeOutputs{}, err
	}
	dir, err := os.MkdirTemp(l.checksDir(), "")
	if err != nil {
		return zeekapi.NodeOutputs{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := l.prepare(n, withoutMetrics(n.Members()), dir); err != nil {
		return zeekapi.NodeOutputs{}, err
	}
	cmd := exec.CommandContext(ctx, l.zeek().binary, append([]string{"--parse-only", keepLogs}, l.parseArgs(n)...)...)
	cmd.Dir, cmd.Env = dir, l.environ(n)
	// ZEEKPATH replaces Zeek's default path, so it is set only if that is known. A node that
	// never ran has no directory, and a check does not create it.
	if path := l.searchPath(n); path != "" && !strings.Contains(dir, ":") {
		cmd.Env = append(cmd.Env, "ZEEKPATH="+dir+":.:"+path)
		if info, err := os.Stat(l.nodeDir(n.Name)); err == nil && info.IsDir() {
			cmd.Dir = l.nodeDir(n.Name)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputDelay
	var stdout, stderr limitedBuffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); errors.Is(err, exec.ErrWaitDelay) {
		err = nil // Zeek has succeeded, and only a child of it keeps the output open
	}
	outputs := zeekapi.NodeOutputs{Stdout: lastLines(stdout.buf.Bytes(), l.config.OutputLines), Stderr: lastLines(stderr.buf.Bytes(), l.config.OutputLines)}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("scripts do not load (%w)", err)
		if line := firstLine(outputs.Stderr); line != "" {
			err = fmt.Errorf("scripts do not load: %s", line)
		}
	}
	return outputs, err
}

// keepLogs keeps Zeek from rotating logs that it finds in its directory, even with
// --parse-only: they are those of the node, which may be running.
const keepLogs = "LogAscii::enable_leftover_log_rotation=F"

// withoutMetrics removes the metrics ports of members. Zeek opens its metrics port before
// it parses scripts, even with --parse-only, but the node to be replaced still uses the
// port.
func withoutMetrics(members []zeekapi.Member) []zeekapi.Member {
	for i := range members {
		members[i].MetricsPort = broker.Port{}
	}
	return members
}

// limitedBuffer keeps the beginning of the data written to it, up to outputBytes. Zeek
// reports the error there.
type limitedBuffer struct{ buf bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.buf.Write(p[:min(len(p), outputBytes-b.buf.Len())])
	return len(p), nil
}
