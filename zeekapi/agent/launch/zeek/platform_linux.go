package zeek

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startPinned starts cmd on the given CPUs. If it cannot be pinned, pinErr is the reason, and
// cmd runs on any CPU.
func startPinned(cmd *exec.Cmd, cpus []int64) (pinErr, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A process inherits the CPUs of the thread that starts it. The
		// thread is not used again: it ends with its goroutine.
		runtime.LockOSThread()
		var set unix.CPUSet
		for _, cpu := range cpus {
			if cpu >= 0 && cpu == int64(int(cpu)) { // Set panics for negative numbers
				set.Set(int(cpu))
			}
		}
		pinErr = unix.SchedSetaffinity(0, &set) // fails for the empty set
		err = cmd.Start()
	}()
	<-done
	return pinErr, err
}

// nameProcess makes cmd start with a process name. The kernel takes the name from the path
// of the program, so cmd starts the program by a symbolic link, which is created in dir.
// The returned function removes the link after the start. The process keeps its usual name
// if the link cannot be created, or if the program is a script: those may look for files
// beside their path.
func nameProcess(cmd *exec.Cmd, dir, name string) (named func()) {
	link, program := filepath.Join(dir, name), cmd.Path
	if interpreted(program) {
		return func() {}
	}
	if info, err := os.Lstat(link); err == nil && info.Mode().Type() == fs.ModeSymlink {
		_ = os.Remove(link) // left by a launcher that was killed
	}
	if os.Symlink(program, link) != nil {
		return func() {}
	}
	if _, err := os.Stat(link); err == nil { // some file systems ignore links
		cmd.Path = link
	}
	return func() { _ = os.Remove(link) }
}

// process is the process of a node. The kernel does not reuse the ID of a child before it
// is reaped. For other processes, a pidfd ensures that no signal goes to another process
// with the same ID.
type process struct {
	pid   int
	id    *identity // nil: it ended before it was identified
	token string
	child *exec.Cmd // nil: an earlier launcher started it
	pidfd *os.File  // nil: not supported by the kernel
}

// open returns the process with an ID. If it returns an error, the process can be awaited
// only if it is a child.
func open(pid int) (process, error) {
	p := process{pid: pid}
	fd, fdErr := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if fdErr == nil {
		p.pidfd = os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))
	}
	id, err := identify(pid) // after opening the pidfd, so that both refer to the same process
	if err != nil {
		return p, err
	}
	p.id = &id
	return p, nil
}

// close releases the resources of the process. A child cannot be reaped after it.
func (p process) close() {
	if p.pidfd != nil {
		p.pidfd.Close()
	}
	if p.child != nil {
		_ = p.child.Process.Release()
	}
}

// lives reports whether the process has not ended.
func (p process) lives() bool {
	if p.child != nil {
		_, err := identify(p.pid)
		return err == nil
	}
	return p.id != nil && p.id.lives()
}

// await waits until the process has ended, or until ctx ends. It does not reap a child.
func (p process) await(ctx context.Context) error {
	if p.pidfd == nil {
		if !poll(ctx, func() bool { return !p.lives() }) {
			return ctx.Err()
		}
		return nil
	}
	defer context.AfterFunc(ctx, func() { p.pidfd.SetReadDeadline(time.Now()) })()
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// signal sends a signal. It is not an error if no process receives it.
func (p process) signal(s syscall.Signal) {
	switch {
	case p.pidfd != nil:
		conn, err := p.pidfd.SyscallConn()
		if err != nil {
			return
		}
		_ = conn.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), s, nil, 0) })
	case p.lives():
		_ = syscall.Kill(p.pid, s)
	}
}

// kill sends SIGKILL to the process and its group.
func (p process) kill() {
	if p.lives() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.signal(syscall.SIGKILL)
}

// reap reaps a child that has ended and returns its exit error. For another process it
// returns errStatusUnknown.
func (p process) reap() error {
	if p.child == nil {
		return errStatusUnknown
	}
	return p.child.Wait()
}

// endStragglers waits until the remaining processes of an ended node have ended: its
// process group, and all processes with its token. After stragglerGrace, or when ctx ends,
// it kills them.
func (p process) endStragglers(ctx context.Context) {
	if len(p.stragglers()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stragglerGrace)
	defer cancel()
	if poll(ctx, func() bool { return len(p.stragglers()) == 0 }) {
		return
	}
	// Processes that they start in the meantime are killed as well. The time is limited,
	// because a process may hang in the kernel.
	ctx, cancel = context.WithTimeout(context.Background(), stragglerGrace)
	defer cancel()
	poll(ctx, func() bool {
		left := p.stragglers()
		for _, id := range left {
			if id.lives() {
				_ = syscall.Kill(id.PID, syscall.SIGKILL)
			}
		}
		return len(left) == 0
	})
}

// stragglers returns the remaining processes of the node.
func (p process) stragglers() []identity {
	var left []identity
	for _, m := range processes.take() {
		if m.id.PID != p.pid && m.group == p.pid || p.token != "" && m.token == p.token {
			left = append(left, m.id)
		}
	}
	return left
}

// signal sends a signal to the process. It does nothing if the process has ended.
func (m mark) signal(s syscall.Signal) {
	p, err := open(m.id.PID)
	defer p.close()
	if err == nil && *p.id == m.id {
		p.signal(s)
	}
}
