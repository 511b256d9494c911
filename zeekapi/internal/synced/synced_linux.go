// Package synced reports to tests the files that a function makes durable. Without a crash
// of the machine, only system calls show that.
package synced

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Files calls do and returns the names of the files and directories on which it called
// fsync or fdatasync, in order, with the names that they had then. It observes only
// calls by the goroutine of do. It skips the test if the kernel does not permit that.
func Files(t testing.TB, do func()) (names []string) {
	t.Helper()
	began, done := make(chan error), make(chan struct{})
	listener := -1
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the filter ends with the thread
		var err error
		listener, err = filter()
		if began <- err; err == nil {
			do()
		}
	}()
	if err := <-began; err != nil {
		t.Skipf("NOT TESTED WHAT IS SYNCED: the system calls cannot be observed: %v", err)
	}
	defer unix.Close(listener)
	for {
		select {
		case <-done:
			return names
		default:
		}
		name, ok, err := next(listener)
		if err != nil {
			panic(fmt.Sprintf("synced: %v", err)) // do would wait forever
		}
		if ok {
			names = append(names, name)
		}
	}
}

// filter makes the kernel report the calls of this thread, and returns the file
// descriptor from which they can be read.
func filter() (listener int, err error) {
	const dataNumber = 0 // offset in struct seccomp_data
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: dataNumber},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: unix.SYS_FSYNC},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_FDATASYNC},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// notice is struct seccomp_notif.
type notice struct {
	id      uint64
	thread  uint32
	flags   uint32
	number  int32
	machine uint32
	pointer uint64
	args    [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

// next returns the name of the file of the next call, and lets the call proceed. It
// returns false if there is none for a while.
func next(listener int) (name string, ok bool, err error) {
	poll := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 1); n == 0 || errors.Is(err, unix.EINTR) {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	if poll[0].Revents&unix.POLLIN == 0 {
		return "", false, nil // the thread has ended
	}
	var call notice
	if err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&call)); err != nil {
		return "", false, ignoreGone(err)
	}
	name, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", call.args[0]))
	proceed := response{id: call.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	return name, true, errors.Join(err, ignoreGone(ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&proceed))))
}

// ignoreGone returns err, or nil if a signal interrupted the call. The thread repeats
// the call then.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func ioctl(fd int, request uintptr, argument unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(argument))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}
