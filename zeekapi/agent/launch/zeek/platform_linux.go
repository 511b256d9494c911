package zeek

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startPinned starts cmd on one CPU, or on any if pinErr says why not on that.
func startPinned(cmd *exec.Cmd, cpu int64) (pinErr, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// A process inherits the CPUs of the thread that starts it. The
		// thread is not used again: it ends with its goroutine.
		runtime.LockOSThread()
		var cpus unix.CPUSet
		if cpu >= 0 && cpu == int64(int(cpu)) { // Set panics at negative ones
			cpus.Set(int(cpu))
		}
		pinErr = unix.SchedSetaffinity(0, &cpus) // refuses the empty set
		err = cmd.Start()
	}()
	<-done
	return pinErr, err
}

// process is the process of a node. Its ID is not given to another one as long
// as it is our child and not reaped; with others a pidfd sees to it that we
// mean the same.
type process struct {
	pid   int
	id    *identity // nil: it had ended before we looked
	token string
	child *exec.Cmd // nil: an earlier launcher started it
	pidfd *os.File  // nil: the kernel has none
}

// open returns the process with an ID. With an error it still is one that can
// be waited for, if it is our child.
func open(pid int) (process, error) {
	p := process{pid: pid}
	fd, fdErr := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if fdErr == nil {
		p.pidfd = os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))
	}
	id, err := identify(pid) // after the pidfd was opened, so that it is of the same process
	if err != nil {
		return p, err
	}
	p.id = &id
	return p, nil
}

// close forgets about the process. It must not be a child that may still run,
// unless it is not to be waited for.
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

// await waits for the end of the process, or of ctx. A child remains to be
// reaped.
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

// kill ends the process and its group at once.
func (p process) kill() {
	if p.lives() {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.signal(syscall.SIGKILL)
}

// reap returns how a process ended that has ended.
func (p process) reap() error {
	if p.child == nil {
		return errStatusUnknown
	}
	return p.child.Wait()
}

// endStragglers ends the processes that an ended process left: its group, and those that
// bears its token wherever it went. For a limited time it may end by itself.
func (p process) endStragglers(ctx context.Context) {
	if len(p.stragglers()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stragglerGrace)
	defer cancel()
	if poll(ctx, func() bool { return len(p.stragglers()) == 0 }) {
		return
	}
	// What they start while we look must end as well. One that hangs in the
	// kernel cannot be waited for.
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

func (p process) stragglers() []identity {
	var left []identity
	for _, m := range everybody.take() {
		if m.id.PID != p.pid && m.group == p.pid || p.token != "" && m.token == p.token {
			left = append(left, m.id)
		}
	}
	return left
}

// signal sends a signal to a process that was found. That it has ended is fine.
func (m mark) signal(s syscall.Signal) {
	p, err := open(m.id.PID)
	defer p.close()
	if err == nil && *p.id == m.id {
		p.signal(s)
	}
}
