package listening_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/listening"
)

// TestPortInUse checks that the error names the port, the program that has it, and the
// flag to change it.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	_, err = listening.Purpose{For: "agents", Flag: "--listen"}.Listen(t.Context(), address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("Listen: %v", err)
	}
	want := []string{"cannot listen for agents at " + address + ": the port is in use", "choose another port with --listen HOST:PORT"}
	if runtime.GOOS == "linux" {
		want = append(want, fmt.Sprintf("(process %d)", os.Getpid()))
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
	if strings.Count(err.Error(), "address already in use") > 0 {
		t.Errorf("error %q says it twice", err)
	}
}

func TestExplain(t *testing.T) {
	p := listening.Purpose{For: "agents", Flag: "--listen"}
	for want, err := range map[string]error{
		"cannot listen for agents at 0.0.0.0:80: permission denied: ports below 1024 require root": syscall.EACCES,
		"no network interface of this machine has the address; choose another one with --listen":   syscall.EADDRNOTAVAIL,
		"cannot listen for agents at 0.0.0.0:80 (--listen): too many open files":                   syscall.EMFILE,
	} {
		if got := p.Explain("0.0.0.0:80", err); !strings.Contains(got.Error(), want) || !errors.Is(got, err) {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
	if l, err := p.Listen(t.Context(), "127.0.0.1:0"); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}
