package proc

import (
	"os"
	"testing"
	"time"
)

// A meter counts the threads and open files of a process.
func TestUsage(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	own := func(pid int, _ Stat) string {
		if pid == os.Getpid() {
			return "n"
		}
		return ""
	}
	u := new(Meter).Read(time.Now(), own)["n"]
	if u.Threads == 0 || u.Files < 4 || u.Memory == 0 || u.Started.IsZero() || u.Started.After(time.Now()) {
		t.Errorf("usage is %+v", u)
	}
	if n := openFiles(-1); n != 0 {
		t.Errorf("a process that does not exist has %d open files", n)
	}
}

func TestInterfaces(t *testing.T) {
	if got := Interfaces([]string{"lo", "nosuchdev"}); len(got) > 1 {
		t.Errorf("got %+v", got)
	}
}
