package testprocess

import "syscall"

// attributes makes the kernel kill the program when this process is killed. Interrupts from
// the terminal do not reach the program.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
