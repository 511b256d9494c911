package zeek

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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
	// stragglerGrace is the time for which processes started by a node may outlive it, such as
	// a program that post-processes a log.
	stragglerGrace = 2 * time.Second

	pollInterval = 20 * time.Millisecond
)

// errLeft ends the supervision of a node that keeps running without the launcher.
var errLeft = errors.New("left running")

// errStatusUnknown is how a node ended that an earlier launcher started: only
// a process's parent is told.
var errStatusUnknown = errors.New("it ended, how is not known as an earlier agent had started it")

// run is the life of a node. It ends early when ctx does.
func (l *Launcher) run(ctx context.Context, n launch.Node) error {
	l.look(ctx)
	if err := l.prepare(n, n.Members(), l.nodeDir(n.Name)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	return l.execute(ctx, n)
}

// prepare makes a directory ready to run a node in.
func (l *Launcher) prepare(n launch.Node, members []zeekapi.Member, dir string) error {
	if err := refuse(n); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, layoutFile), layout(n.Instance, members, l.zeek().version), 0o644)
}

// refuse returns an error for a node that cannot be put into a directory or
// on a command line.
func refuse(n launch.Node) error {
	if n.Name == "" || n.Name == "." || n.Name == ".." || filepath.Base(n.Name) != n.Name {
		return fmt.Errorf("%q does not name a directory", n.Name)
	}
	for _, script := range n.Scripts {
		if !isScript(script) {
			return fmt.Errorf("%q does not name a script", script)
		}
	}
	return nil
}

// execute runs the process of a node from beginning to end, and leaves nothing
// of it.
//
// It is noted before it starts. A launcher that comes after one that was killed
// in between finds it by the token in its environment.
func (l *Launcher) execute(ctx context.Context, n launch.Node) error {
	dir := l.nodeDir(n.Name)
	note := l.newNote(n)
	cmd := exec.Command(l.zeek().binary, l.args(n)...)
	cmd.Dir, cmd.Env = dir, append(l.environ(n), tokenVar+"="+note.Token+":"+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	note.Args = cmd.Args

	stdout, err := output(dir, l.config.StdoutFile)
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := output(dir, l.config.StderrFile)
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr

	if err := note.write(dir); err != nil {
		return fmt.Errorf("noting that the node is to start: %w", err)
	}
	if err := l.start(cmd, n); err != nil {
		return errors.Join(err, forget(dir))
	}
	log := l.config.Log.With().Str("node", n.Name).Int("pid", cmd.Process.Pid).Logger()
	p, _ := open(cmd.Process.Pid) // it may have ended already
	p.token, p.child = note.Token, cmd
	if note.Process = p.id; note.Process != nil {
		if err := note.write(dir); err != nil {
			log.Warn().Err(err).Msg("cannot note the process, a later agent will have to search for it")
		}
	}
	l.watched(n.Name, p)
	l.events.Add(launch.Started{Node: n.Name, PID: int64(p.pid)})
	return l.supervise(ctx, n.Name, p)
}

// newToken returns what tells a process that we start from all others.
func newToken() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// supervise waits until a process and all that it started have ended, and ends
// them when ctx does. It returns how the process ended.
func (l *Launcher) supervise(ctx context.Context, name string, p process) error {
	defer p.close()
	log := l.config.Log.With().Str("node", name).Int("pid", p.pid).Logger()
	ended := make(chan error, 1)
	go func() { ended <- p.await(l.left) }()

	// Whatever happens below, the process has ended, or its end is awaited.
	told := false
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		told = true
		p.signal(syscall.SIGTERM)
		patience := time.NewTimer(l.config.Patience)
		defer patience.Stop()
		select {
		case err = <-ended:
		case <-patience.C:
			log.Warn().Dur("patience", l.config.Patience).Msg("node does not end, killing it")
			p.kill()
			err = <-ended
		case <-l.killed.Done():
			p.kill()
			err = <-ended
		}
	}
	if err != nil {
		return errLeft
	}
	p.endStragglers(l.killed)
	err = p.reap()
	if errors.Is(err, errStatusUnknown) && told {
		err = nil
	}
	if noteErr := forget(l.nodeDir(name)); noteErr != nil {
		log.Warn().Err(noteErr).Msg("cannot remove the note of a process that has ended")
	}
	return err
}

// start starts the process, on one CPU if the node is pinned to it. Like Zeek, it
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
