// Package testprocess runs programs that a test kills, suspends and starts again.
package testprocess

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// maxLog limits the end of a log that is printed, in bytes.
const maxLog = 8000

// Process is a program that ends with the test. Its methods may be called concurrently.
type Process struct {
	Name string

	t         testing.TB
	env, argv []string
	log       string // file with the output of all starts

	mu    sync.Mutex
	cmd   *exec.Cmd     // nil after Kill
	ended chan struct{} // closed when cmd has ended
}

// Start starts a program, with additional environment variables. Its output is in the file
// NAME.log in dir, whose end is printed if the test fails.
func Start(t testing.TB, dir, name string, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{Name: name, t: t, env: env, argv: argv, log: filepath.Join(dir, name+".log")}
	p.Start()
	t.Cleanup(func() {
		p.Kill()
		if text, _ := os.ReadFile(p.log); t.Failed() {
			t.Logf("end of the log of %s:\n%s", name, text[max(0, len(text)-maxLog):])
		}
	})
	return p
}

// Start starts the program again after Kill. It does nothing without a call of Kill.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	cmd, ended := exec.Command(p.argv[0], p.argv[1:]...), make(chan struct{})
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the tests look at its effects
	}()
	p.cmd, p.ended = cmd, ended
}

// Kill kills the program at once. It does nothing if it was killed before.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
	p.cmd = nil
}

// Signal sends a signal to the program. It does nothing after Kill.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.Name, err)
	}
}

// PID returns the ID of the process, 0 after Kill.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Ended reports whether the program has ended, other than by Kill.
func (p *Process) Ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}
