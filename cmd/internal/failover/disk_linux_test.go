package failover

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// diskSocket is the environment variable with the name of a socket. A test binary that is
// started with it becomes another program, whose writes to disk a test can slow down.
const diskSocket = "FAILOVER_DISK"

// disk slows down the calls of fsync and fdatasync of a program. The kernel reports them to
// the test, which lets them continue later.
type disk struct {
	listener *net.UnixListener
	delay    atomic.Int64
}

// newDisk returns a disk, and the command line and the environment with which a program that
// uses it is started.
func newDisk(t *testing.T, dir, name string, argv []string) (d *disk, wrapped, env []string) {
	t.Helper()
	path := filepath.Join(dir, name+".disk")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d = &disk{listener: l}
	go d.serve(t)
	t.Cleanup(func() { l.Close() })
	return d, append([]string{self}, argv...), []string{diskSocket + "=" + path}
}

// slow sets the time that each write takes at least.
func (d *disk) slow(delay time.Duration) { d.delay.Store(int64(delay)) }

func (d *disk) serve(t *testing.T) {
	for {
		c, err := d.listener.AcceptUnix()
		if err != nil {
			return
		}
		fd, err := receive(c)
		c.Close()
		if err != nil {
			t.Errorf("disk: %v", err)
			continue
		}
		go d.supervise(fd)
	}
}

// receive receives the descriptor for the calls of a program.
func receive(c *net.UnixConn) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return 0, err
	}
	all, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(all) != 1 {
		return 0, fmt.Errorf("no descriptor: %v", err)
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil {
		return 0, err
	}
	return fds[0], nil
}

// call is a seccomp_notif, the answer a seccomp_notif_resp.
type (
	call struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	answer struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
)

// supervise answers the calls of a program until it ends.
func (d *disk) supervise(fd int) {
	var pending atomic.Int64
	defer func() {
		for pending.Load() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		unix.Close(fd)
	}()
	for {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			return
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			if ready[0].Revents != 0 {
				return // the program has ended
			}
			continue
		}
		var c call
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&c))); errno != 0 {
			continue // the thread has ended
		}
		pending.Add(1)
		go func() {
			defer pending.Add(-1)
			for began := time.Now(); time.Since(began) < time.Duration(d.delay.Load()); {
				time.Sleep(5 * time.Millisecond)
			}
			a := answer{id: c.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			for errno := unix.EINTR; errno == unix.EINTR; { // without an answer the call would never end
				_, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
			}
		}()
	}
}

// slowDisks reports whether the kernel reports the calls of programs.
func slowDisks() bool {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}

// becomeSlow replaces the process with the program that is its arguments, if it was started
// for that.
func becomeSlow() {
	socket := os.Getenv(diskSocket)
	if socket == "" {
		return
	}
	if err := execSlow(socket, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "disk:", err)
		os.Exit(1)
	}
}

func execSlow(socket string, argv []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const number = 0 // offset in seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_FSYNC},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_FDATASYNC},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	if _, _, err := c.WriteMsgUnix([]byte{0}, unix.UnixRights(int(fd)), nil); err != nil {
		return err
	}
	return syscall.Exec(program, argv, os.Environ()) // the listener is closed
}

// A program whose disk is slow writes slowly, and quickly otherwise.
func TestSlowDisk(t *testing.T) {
	if !slowDisks() {
		t.Skip("the kernel does not report system calls")
	}
	dir := t.TempDir()
	sync := []string{"dd", "if=/dev/zero", "of=" + filepath.Join(dir, "file"), "bs=1", "count=1", "conv=fdatasync"}
	d, argv, env := newDisk(t, dir, "disk", sync)
	for _, delay := range []time.Duration{0, 300 * time.Millisecond} {
		d.slow(delay)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), env...)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if took := time.Since(began); took < delay {
			t.Errorf("took %s, want %s at least", took, delay)
		}
	}
}
