//go:build !linux

package zeek

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Without Linux's /proc, the launcher does not pin nodes to CPUs, adopt running nodes,
// measure resource usage, or find processes of a node outside its process group.

var errUnsupported = errors.New("only supported on Linux")

func startPinned(cmd *exec.Cmd, _ []int64) (pinErr, err error) { return errUnsupported, cmd.Start() }

func nameProcess(*exec.Cmd, string, string) (named func()) { return func() {} }

type process struct {
	pid   int
	id    *identity
	token string
	child *exec.Cmd
}

func open(pid int) (process, error) { return process{pid: pid}, errUnsupported }

func (p process) close() {}

func (p process) lives() bool { return p.child == nil || p.child.ProcessState == nil }

// await waits until the process has ended, and reaps it. It ignores ctx.
func (p process) await(context.Context) error {
	p.child.Wait()
	return nil
}

func (p process) signal(s syscall.Signal) { _ = syscall.Kill(p.pid, s) }

func (p process) kill() { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }

func (p process) reap() error {
	if p.child.ProcessState.Success() {
		return nil
	}
	return &exec.ExitError{ProcessState: p.child.ProcessState}
}

func (p process) endStragglers(context.Context) { _ = syscall.Kill(-p.pid, syscall.SIGKILL) }

func (id identity) started() time.Time { return time.Time{} }

type mark struct {
	id         identity
	token, dir string
}

func (m mark) lives() bool { return false }

func (m mark) signal(syscall.Signal) {}

func marked(string) ([]mark, error) { return nil, nil }

func (n note) leader([]mark) (process, bool) { return process{}, false }

func ownPrivileges() privileges { return privileges{root: true} } // it is not known

func checkCPUs(n zeekapi.Node) error { return zeekapi.CheckCPUs(n) }

func listening(map[int]string) map[uint16]string { return nil }

var machineResources = resources{
	memory: func() (uint64, bool) { return 0, false },
	disk:   func(string) (disk, bool) { return disk{}, false },
}

func writable(string) error { return nil }
