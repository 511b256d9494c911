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
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

const (
	// stragglerGrace is the time for which processes started by a node may outlive it,
	// such as a program that post-processes a log.
	stragglerGrace = 2 * time.Second

	pollInterval = 20 * time.Millisecond
)

// errLeft ends the supervision of a node that keeps running without the launcher.
var errLeft = errors.New("left running")

// errStatusUnknown is the exit error of a node that an earlier launcher started. Only the
// parent of a process receives its exit status.
var errStatusUnknown = errors.New("exit status unknown: an earlier agent started the node")

// run runs a node from its start to its end. It stops the node when ctx ends.
func (l *Launcher) run(ctx context.Context, n launch.Node) error {
	l.refresh(ctx)
	if err := l.prepare(n, n.Members(), l.nodeDir(n.Name)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	return l.execute(ctx, n)
}

// prepare creates the directory of a node and writes the cluster layout into it.
func (l *Launcher) prepare(n launch.Node, members []zeekapi.Member, dir string) error {
	if err := l.refuse(n); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, layoutFile), layout(n.Instance, members, l.zeek().version), 0o644)
}

// refuse returns an error if the name of a node is not valid for a directory, one of its
// scripts is not valid on a command line, its site is missing, or its directory belongs to
// another agent.
func (l *Launcher) refuse(n launch.Node) error {
	if n.Name == "" || n.Name == "." || n.Name == ".." || filepath.Base(n.Name) != n.Name {
		return fmt.Errorf("%q does not name a directory", n.Name)
	}
	for _, script := range n.Scripts {
		if err := zeekapi.CheckScript(script); err != nil {
			return err
		}
	}
	return errors.Join(l.checkSite(n), l.checkOwner(n.Name))
}

// execute runs the process of a node from its start to its end, and ends all processes that
// it leaves.
//
// The note is written before the process starts. If the launcher is killed before it can
// record the process, the next launcher finds the process by the token in its environment.
func (l *Launcher) execute(ctx context.Context, n launch.Node) error {
	dir := l.nodeDir(n.Name)
	note := l.newNote(n)
	cmd := exec.Command(l.zeek().binary, l.args(n)...)
	cmd.Dir, cmd.Env = dir, append(l.environ(n), tokenVar+"="+note.Token+":"+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	note.Args = cmd.Args

	if err := l.reserve(ctx, note); err != nil {
		return err
	}
	cmd, err := l.startIn(dir, cmd, n)
	if err != nil {
		return errors.Join(err, forget(dir))
	}
	log := l.config.Log.With().Str("node", n.Name).Int("pid", cmd.Process.Pid).Logger()
	p, _ := open(cmd.Process.Pid) // fails if it has already ended
	p.token, p.child = note.Token, cmd
	if note.Process = p.id; note.Process != nil {
		if err := note.write(dir); err != nil {
			log.Warn().Err(err).Msg("cannot record the process of the node; a later agent has to search for it")
		}
	}
	l.watched(n.Name, p, l.started(note))
	l.events.Add(launch.Started{Node: n.Name, PID: int64(p.pid)})
	return l.supervise(ctx, n.Name, p)
}

// startIn starts the process of a node with its outputs in files. The started command may be
// a copy of cmd.
func (l *Launcher) startIn(dir string, cmd *exec.Cmd, n launch.Node) (*exec.Cmd, error) {
	stdout, err := output(dir, l.config.StdoutFile)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := output(dir, l.config.StderrFile)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := loaded.Forget(dir); err != nil {
		l.config.Log.Warn().Str("node", n.Name).Err(err).Msg("cannot remove the list of scripts of the node's previous start")
	}
	defer nameProcess(cmd, dir, launch.ProcessName(n.Name))()
	return l.startLimited(cmd, n)
}

// startLimited starts the process of a node in its control group, or without one if that
// fails.
func (l *Launcher) startLimited(cmd *exec.Cmd, n launch.Node) (*exec.Cmd, error) {
	entered, err := l.memory.enter(cmd, n)
	if err == nil {
		defer entered()
		err = l.start(cmd, n)
		if err == nil || !l.memory.undo(cmd) {
			return cmd, err
		}
		cmd = &exec.Cmd{ // a command can be started only once
			Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Stdout: cmd.Stdout, Stderr: cmd.Stderr, SysProcAttr: cmd.SysProcAttr,
		}
	}
	l.config.Log.Warn().Str("node", n.Name).Err(err).Msg("cannot start the node in a control group of its own; the agent watches its memory")
	return cmd, l.start(cmd, n)
}

// newToken returns a random token, which identifies the processes of one start of a node.
func newToken() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// supervise waits until a process and all processes that it started have ended. It stops
// them when ctx ends. It returns the exit error of the process, or errLeft if it keeps
// running without the launcher.
func (l *Launcher) supervise(ctx context.Context, name string, p process) error {
	defer p.close()
	log := l.config.Log.With().Str("node", name).Int("pid", p.pid).Logger()
	ended := make(chan error, 1)
	go func() { ended <- p.await(l.left) }()

	// Every case waits until the process has ended, or until l.left ends.
	stopped := false
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		stopped = true
		p.signal(syscall.SIGTERM)
		patience := time.NewTimer(l.config.Patience)
		defer patience.Stop()
		select {
		case err = <-ended:
		case <-patience.C:
			log.Warn().Dur("patience", l.config.Patience).Msg("node did not stop in time, killing it")
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
	if errors.Is(err, errStatusUnknown) && stopped {
		err = nil
	}
	if noteErr := forget(l.nodeDir(name)); noteErr != nil {
		log.Warn().Err(noteErr).Msg("cannot remove the record of an ended process")
	}
	return err
}

// start starts the process, pinned to the node's CPUs if it has some. Like Zeek, it uses any
// CPU if none of them is available.
func (l *Launcher) start(cmd *exec.Cmd, n launch.Node) error {
	cpus, pinErr := n.CPUs()
	if pinErr == nil && len(cpus) == 0 {
		return cmd.Start()
	}
	var err error
	if pinErr != nil {
		err = cmd.Start()
	} else {
		pinErr, err = startPinned(cmd, cpus)
	}
	if pinErr != nil {
		l.config.Log.Warn().Str("node", n.Name).Str("cpu", n.Affinity()).Err(pinErr).Msg("cannot pin node to CPU")
	}
	return err
}

// poll calls done repeatedly until it returns true or ctx ends. It returns the last result.
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
