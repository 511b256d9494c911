//go:build !linux

package zeek

import (
	"errors"
	"os/exec"
)

// Without Linux's /proc there is less care: no CPUs, no knowing a process
// again, no wait for what a node leaves.

var errUnsupported = errors.New("only on Linux")

func startPinned(cmd *exec.Cmd, _ int64) (pinErr, err error) { return errUnsupported, cmd.Start() }

// awaitExit waits for the end of a process and already reaps it.
func awaitExit(cmd *exec.Cmd) { cmd.Wait() }

// reap returns how a process ended.
func reap(cmd *exec.Cmd) error {
	if cmd.ProcessState.Success() {
		return nil
	}
	return &exec.ExitError{ProcessState: cmd.ProcessState}
}

func identify(int) (identity, error) { return identity{}, errUnsupported }

func groupLives(int) bool { return false }
