package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// TestServiceScripts runs controllers and agents as processes, as systemd does. In
// addition to testscript's own commands, scripts have the commands
//
//	notified PATTERN               wait until systemd receives a matching notification
//	get STATUS URL PATTERN         wait until an HTTP server sends such a response
//	metrics URL FILE               check metrics as promtool does, and write their
//	                               names and types to a file
//	signal NAME PATTERN            send a signal to the process in the background
//	                               whose command line matches
//	await PATTERN COMMAND...       run a command until its output matches
//
// and the variables NATIVE, CLIENTS, AGENT, HTTP and HTTP2, each a free address.
func TestServiceScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/service",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"NATIVE", "CLIENTS", "AGENT", "HTTP", "HTTP2"} {
				env.Setenv(name, peertest.FreeAddress(t))
			}
			dir, err := os.MkdirTemp("", "zeekwire") // a socket's name must be short
			if err != nil {
				return err
			}
			name := filepath.Join(dir, "notify")
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
			if err != nil {
				return err
			}
			env.Defer(func() {
				conn.Close()
				os.RemoveAll(dir)
			})
			env.Setenv("NOTIFY_SOCKET", name)
			env.Setenv("GORACE", raceOptions)
			env.Setenv("ZEEKWIRE_AGENT_DISK_WARN", "0") // the disk of the tests may be fuller
			env.Values[systemdKey{}] = notifications(conn)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"notified": awaitNotification,
			"get":      awaitHTTP,
			"metrics":  writeMetrics,
			"signal":   sendSignal,
			"await":    awaitOutput,
		},
	})
}

type systemdKey struct{}

// notifications returns the notifications to systemd until the socket is
// closed. It reads them at once, because the socket's buffer holds only a few
// messages.
func notifications(conn *net.UnixConn) <-chan string {
	told := make(chan string, 10_000)
	go func() {
		defer close(told)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			told <- string(b[:n])
		}
	}()
	return told
}

func awaitNotification(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(strings.Join(args, " "))
	ts.Check(err)
	late := time.After(scriptPatience)
	for {
		select {
		case text := <-ts.Value(systemdKey{}).(<-chan string):
			ts.Logf("notification: %q", text)
			if pattern.MatchString(text) {
				return
			}
		case <-late:
			ts.Fatalf("no notification matches %s", pattern)
		}
	}
}

func httpGet(url string) (status int, body string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: scriptPatience}
	r, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

func awaitHTTP(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[2])
	ts.Check(err)
	var status int
	var body string
	for late := time.Now().Add(scriptPatience); time.Now().Before(late); {
		status, body, err = httpGet("http://" + args[1])
		if err == nil && fmt.Sprint(status) == args[0] && pattern.MatchString(body) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("response of %s: %d %q, %v", args[1], status, body, err)
}

func writeMetrics(ts *testscript.TestScript, _ bool, args []string) {
	_, body, err := httpGet("http://" + args[0])
	ts.Check(err)
	problems, err := promlint.New(strings.NewReader(body)).Lint() // what "promtool check metrics" does
	ts.Check(err)
	for _, p := range problems {
		ts.Logf("%s: %s", p.Metric, p.Text)
	}
	if len(problems) > 0 {
		ts.Fatalf("metrics of %s violate the conventions of Prometheus", args[0])
	}
	var ours []string
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE zeekwire_"); ok {
			ours = append(ours, "zeekwire_"+name)
		}
	}
	slices.Sort(ours)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(ours, "")), 0o600))
}

// sendSignal sends a signal to a program in the background. With -repeat it sends the
// signal until the program has ended.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	repeat := args[0] == "-repeat"
	if repeat {
		args = args[1:]
	}
	signals := map[string]os.Signal{
		"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	for _, cmd := range ts.BackgroundCmds() {
		if pattern.MatchString(strings.Join(cmd.Args, " ")) {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			for repeat && cmd.Process.Signal(signals[args[0]]) == nil {
				time.Sleep(100 * time.Millisecond)
			}
			return
		}
	}
	ts.Fatalf("no process %s", pattern)
}
