package zeek

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/atomicfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

const (
	// How much of what a node wrote is reported, as Zeek has it in
	// Management::Supervisor::output_max_lines, and a limit in bytes.
	outputLines = 100
	outputBytes = 64 << 10

	// stragglerGrace is how long what a node started may outlive it, such as
	// a program that post-processes a log.
	stragglerGrace = 2 * time.Second

	pollInterval = 20 * time.Millisecond

	processFile = "process.json"
)

// run is the life of a node. It ends early when ctx does.
func (l *Launcher) run(ctx context.Context, n launch.Node) launch.Exited {
	err := l.prepare(n)
	if err == nil && ctx.Err() == nil {
		err = l.execute(ctx, n)
	}
	return launch.Exited{Node: n.Name, Err: err, Outputs: zeekapi.NodeOutputs{
		Stdout: tail(filepath.Join(l.nodeDir(n.Name), "stdout")),
		Stderr: tail(filepath.Join(l.nodeDir(n.Name), "stderr")),
	}}
}

func (l *Launcher) prepare(n launch.Node) error {
	if n.Name == "" || n.Name == "." || n.Name == ".." || filepath.Base(n.Name) != n.Name {
		return fmt.Errorf("%q does not name a directory", n.Name)
	}
	for _, script := range n.Scripts {
		if !isScript(script) {
			return fmt.Errorf("%q does not name a script", script)
		}
	}
	dir := l.nodeDir(n.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, layoutFile), layout(n, l.install.version), 0o644)
}

// execute runs the process of a node from beginning to end, and leaves nothing
// of it.
func (l *Launcher) execute(ctx context.Context, n launch.Node) error {
	dir := l.nodeDir(n.Name)
	cmd := exec.Command(l.install.binary, l.args(n)...)
	cmd.Dir, cmd.Env = dir, l.environ(n)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := output(dir, "stdout")
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := output(dir, "stderr")
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr

	if err := l.start(cmd, n); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	log := l.config.Log.With().Str("node", n.Name).Int("pid", pid).Logger()
	if err := remember(dir, pid); err != nil {
		log.Warn().Err(err).Msg("cannot note the process, a later agent will not know it")
	}
	l.events.Add(launch.Started{Node: n.Name, PID: int64(pid)})

	// The process must not be reaped while its ID is needed for signals.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		awaitExit(cmd)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		send(pid, syscall.SIGTERM)
		patience := time.NewTimer(l.config.Patience)
		defer patience.Stop()
		select {
		case <-ended:
		case <-patience.C:
			log.Warn().Dur("patience", l.config.Patience).Msg("node does not end, killing it")
		case <-l.killed.Done():
		}
	}
	select {
	case <-ended:
		awaitGroup(l.killed, pid, stragglerGrace)
	default:
	}
	send(-pid, syscall.SIGKILL)
	<-ended
	err = reap(cmd)
	forget(dir)
	return err
}

// start starts the process, on one CPU if the node wants that. Like Zeek, it
// makes do with any CPU where that one cannot be had.
func (l *Launcher) start(cmd *exec.Cmd, n launch.Node) error {
	if n.CPUAffinity == nil {
		return cmd.Start()
	}
	pinErr, err := startPinned(cmd, *n.CPUAffinity)
	if pinErr != nil {
		l.config.Log.Warn().Str("node", n.Name).Int64("cpu", *n.CPUAffinity).Err(pinErr).Msg("cannot pin node to CPU")
	}
	return err
}

func send(pid int, s syscall.Signal) {
	// That there is nobody to receive it is fine.
	_ = syscall.Kill(pid, s)
}

// awaitGroup waits until a process group has no members but zombies, for a
// limited time.
func awaitGroup(ctx context.Context, pgid int, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	poll(ctx, func() bool { return !groupLives(pgid) })
}

// poll waits until done or ctx ends, and says whether done.
func poll(ctx context.Context, done func() bool) bool {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
}

func output(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC|os.O_APPEND, 0o600)
}

// tail returns the last lines of a file, nothing if it cannot be read.
func tail(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err != nil {
		return ""
	} else if _, err := f.Seek(max(0, size-outputBytes), io.SeekStart); err != nil {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, outputBytes))
	if err != nil {
		return ""
	}
	start := len(bytes.TrimSuffix(b, []byte("\n")))
	for range outputLines {
		if start < 0 {
			break
		}
		start = bytes.LastIndexByte(b[:start], '\n')
	}
	return string(b[start+1:])
}

// identity tells a process from a later one with the same ID.
type identity struct {
	PID       int    `json:"pid"`
	StartTime string `json:"start_time"` // in the kernel's own unit, since boot
	Boot      string `json:"boot"`
}

func remember(dir string, pid int) error {
	id, err := identify(pid)
	if err != nil {
		return err
	}
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, processFile), append(b, '\n'), 0o600)
}

func forget(dir string) { os.Remove(filepath.Join(dir, processFile)) }

// endLeftovers ends the nodes of a launcher that could not do so itself.
func (l *Launcher) endLeftovers(ctx context.Context) error {
	dirs, err := os.ReadDir(filepath.Join(l.config.StateDir, "nodes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var notes []string
	var left []identity
	for _, dir := range dirs {
		note := filepath.Join(l.nodeDir(dir.Name()), processFile)
		id, err := readNote(note)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		notes = append(notes, note)
		if err != nil {
			return fmt.Errorf("left-over process: %w", err)
		}
		if id.lives() {
			l.config.Log.Warn().Str("directory", filepath.Dir(note)).Int("pid", id.PID).Msg("ending a node that an earlier agent left")
			send(id.PID, syscall.SIGTERM)
			left = append(left, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.Patience)
	defer cancel()
	for _, id := range left {
		poll(ctx, func() bool { return !id.lives() })
		send(-id.PID, syscall.SIGKILL)
	}
	for _, note := range notes {
		if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func readNote(name string) (identity, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return identity{}, err
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return identity{}, fmt.Errorf("%s: %w", name, err)
	}
	if id.PID <= 1 {
		return identity{}, fmt.Errorf("%s: %d is no process of a node", name, id.PID)
	}
	return id, nil
}

// lives reports whether the process still runs: this one, not another that
// was given its ID.
func (id identity) lives() bool {
	now, err := identify(id.PID)
	return err == nil && now == id
}
