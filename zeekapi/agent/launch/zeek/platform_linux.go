package zeek

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

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

// awaitExit waits for the end of a process that reap will reap.
func awaitExit(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// reap returns how a process ended.
func reap(cmd *exec.Cmd) error { return cmd.Wait() }

// identify returns the identity of a process that has not ended.
func identify(pid int) (identity, error) {
	stat, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, err
	}
	if stat.zombie() {
		return identity{}, fmt.Errorf("process %d has ended", pid)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, err
	}
	return identity{PID: pid, StartTime: stat.startTime, Boot: string(bytes.TrimSpace(boot))}, nil
}

// groupLives reports whether a process group has members other than zombies.
func groupLives(pgid int) bool {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	group := fmt.Sprint(pgid)
	for _, file := range files {
		if stat, err := readStat(file); err == nil && stat.group == group && !stat.zombie() {
			return true
		}
	}
	return false
}

// processStat is part of a process's stat file, see proc_pid_stat(5).
type processStat struct{ state, group, startTime string }

func (s processStat) zombie() bool { return s.state == "Z" || s.state == "X" }

func readStat(file string) (processStat, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return processStat{}, err
	}
	// The second field is the program's name in parentheses, in which there
	// may be anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return processStat{}, fmt.Errorf("%s has %d fields after the name, want 20", file, len(fields))
	}
	return processStat{state: fields[0], group: fields[2], startTime: fields[19]}, nil
}
