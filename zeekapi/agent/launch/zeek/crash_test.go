package zeek

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// A node that ends by itself and with an error leaves a report; one that is stopped does not.
func TestCrashReports(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	l := start(t, Config{})
	l.Start(node("killed", "hang"))
	pid := next[launch.Started](t, l).PID
	began := time.Now()
	if err := syscall.Kill(int(pid), syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	exited := next[launch.Exited](t, l)
	reports := l.Crashes("killed")
	if len(reports) != 1 {
		t.Fatalf("%d reports after %v", len(reports), exited.Err)
	}
	r := reports[0]
	if r.Node != "killed" || r.PID != pid || r.Time.Before(began) || r.Reason == "" || r.Reason != exited.Err.Error() || r.Stderr != exited.Outputs.Stderr {
		t.Errorf("the report is %+v, the node ended with %v", r, exited.Err)
	}
	if strings.Contains(r.Reason, "signal") && r.Signal != int64(syscall.SIGSEGV) || r.Signal == 0 && r.Code <= 0 {
		t.Errorf("signal %d, code %d: %s", r.Signal, r.Code, r.Reason)
	}

	l.Start(node("stopped", ""))
	next[launch.Started](t, l)
	l.Stop("stopped")
	next[launch.Exited](t, l)
	if n := len(l.Crashes("stopped")); n != 0 {
		t.Errorf("%d reports about a node that was stopped", n)
	}
}
