package clientcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// screen is a terminal of 80 columns on which lines move.
func screen(io.Writer) terminal.Screen {
	return terminal.Screen{Terminal: true, Color: true, Moves: true, Size: func() (int, int) { return 80, 200 }}
}

func noEnv(string) string { return "" }

// evil is what a peer might write in order to have its way with a terminal.
const evil = "x\x1b[2J\x1b]0;owned\x07\r\u202e\u009b31m"

var evilOutputs = zeekapi.NodeOutputs{Stdout: evil + "\n", Stderr: evil + "\n"}

// evilAnswer has evil in all places.
func evilAnswer(t *testing.T) func(zeekapi.Message) zeekapi.Message {
	now := time.Now()
	node := zeekapi.NodeStatus{Node: evil, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	instance := zeekapi.Instance{Name: evil, Host: netip.MustParseAddr("10.0.0.1")}
	config := zeekapi.Configuration{
		ID: evil, Instances: []zeekapi.Instance{instance},
		Nodes: []zeekapi.Node{{Name: evil, Instance: evil, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning, Interface: evil}},
	}
	deployment := zeekapi.Deployment{Number: 1, Config: evil, Action: evil, By: evil, Started: now, Outcome: evil, Errors: []string{evil, evil}}
	job := zeekapi.Job{Number: 1, By: evil, Started: now, Ended: now, Done: []string{evil}, Now: []string{evil}, Next: []string{evil}, Error: evil}
	ok := func(v any) zeekapi.Result { return zeekapi.Result{Success: true, Data: marshal(t, v)} }
	results := []zeekapi.Result{
		{Instance: evil, Node: evil, Data: marshal(t, evilOutputs)}, {Error: evil}, {Success: true, Data: broker.String(evil)},
	}
	return func(m zeekapi.Message) zeekapi.Message {
		id := zeekapi.ReqID{ID: m.RequestID()}
		switch m.(type) {
		case zeekapi.GetInstancesRequest:
			return zeekapi.GetInstancesResponse{ReqID: id, Result: ok([]zeekapi.Instance{instance})}
		case zeekapi.GetConfigurationRequest:
			return zeekapi.GetConfigurationResponse{ReqID: id, Result: ok(config)}
		case zeekapi.DeployRequest:
			return zeekapi.DeployResponse{ReqID: id, Results: results}
		case zeekapi.GetNodesRequest:
			in := ok([]zeekapi.NodeStatus{node})
			in.Instance = evil
			return zeekapi.GetNodesResponse{ReqID: id, Results: []zeekapi.Result{in, {Instance: evil, Error: evil}}}
		case zeekapi.GetIDValueRequest:
			return zeekapi.GetIDValueResponse{ReqID: id, Results: []zeekapi.Result{
				{Success: true, Node: evil, Data: marshal(t, `"\u001b[2J\u202e"`)}, {Node: evil, Error: evil},
			}}
		case zeekapi.RestartRequest:
			return zeekapi.RestartResponse{ReqID: id, Results: results[:2]}
		case zeekapi.StatusRequest:
			return zeekapi.StatusResponse{ReqID: id, Result: ok(zeekapi.Status{
				Controller: zeekapi.Process{Name: evil, Version: evil}, Staged: evil, Deployed: evil, Target: evil, Last: &deployment, Job: &job,
				Instances: []zeekapi.InstanceStatus{{
					Instance: instance, Connected: true, Agent: zeekapi.Process{Name: evil, Version: evil}, Zeek: evil, LastError: evil,
					Nodes: []zeekapi.NodeDetail{{Status: node, LastError: evil}},
				}},
			})}
		case zeekapi.DryRunRequest:
			changes := []zeekapi.Change{{Name: evil, Kind: "changed", Fields: []zeekapi.FieldChange{{Field: evil, Old: evil, New: evil}}}}
			return zeekapi.DryRunResponse{ReqID: id, Results: []zeekapi.Result{ok(zeekapi.Diff{
				From: evil, To: evil, Instances: changes, Nodes: changes, Missing: []string{evil},
			})}}
		case zeekapi.DeployStagedRequest:
			return zeekapi.DeployStagedResponse{ReqID: id, Results: results}
		case zeekapi.HistoryRequest:
			return zeekapi.HistoryResponse{ReqID: id, Result: ok([]zeekapi.Deployment{deployment})}
		case zeekapi.GetPastRequest:
			return zeekapi.GetPastResponse{ReqID: id, Result: ok(config)}
		case zeekapi.RollbackRequest:
			return zeekapi.RollbackResponse{ReqID: id, Results: results}
		case zeekapi.DrainRequest:
			return zeekapi.DrainResponse{ReqID: id, Results: results}
		case zeekapi.RollingRestartRequest:
			return zeekapi.RollingRestartResponse{ReqID: id, Result: ok(job)}
		case zeekapi.CancelJobRequest:
			return zeekapi.CancelJobResponse{ReqID: id, Result: ok(job)}
		case zeekapi.EventsRequest:
			return zeekapi.EventsResponse{ReqID: id, Result: ok([]zeekapi.ClusterEvent{{Number: 1, Time: now, Kind: evil, Instance: evil, Node: evil, Text: evil}})}
		case zeekapi.LogsRequest:
			return zeekapi.LogsResponse{ReqID: id, Result: ok(evilOutputs)}
		}
		t.Errorf("unexpected %T", m)
		return nil
	}
}

// ownSequences are those that package terminal writes.
var ownSequences = regexp.MustCompile(`\x1b\[([0-9]+m|[0-9]+A|J)`)

// TestTerminalIsSafe lets every command show what somebody wrote who wants to
// control the terminal.
func TestTerminalIsSafe(t *testing.T) {
	for _, people := range []bool{true, false} {
		for _, command := range []string{
			"get-instances", "get-nodes", "get-config", "get-config --as-json", "get-id-value x", "deploy", "restart",
			"status", "diff", "history", "rollback", "rolling-restart", "rolling-restart --cancel",
			"drain i", "undrain i", "logs n", "events", "get-config --number 1", "deploy --force", "deploy --dry-run",
		} {
			args := strings.Fields(command)
			if !people && !slices.ContainsFunc(new(clientcmd.Tool).Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) ||
				!people && strings.Contains(command, "--") && !strings.Contains(command, "--as-json") {
				continue
			}
			t.Run(command, func(t *testing.T) {
				tool := &clientcmd.Tool{People: people, Dial: inProcess(newController(t, evilAnswer(t))), Look: screen}
				got := execute1(t, tool, "", args...)
				all := got.stdout + got.stderr
				if all == "" {
					t.Fatal("no output")
				}
				text := all
				if people {
					text = ownSequences.ReplaceAllString(text, "")
				}
				if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' && (r != '\r' || !people) }); i >= 0 {
					t.Errorf("%q in %q", text[i:], all)
				}
				if strings.Contains(ownSequences.FindString(text), "31m") {
					t.Errorf("%q", all)
				}
			})
		}
	}
}

// lines is standard output that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what was written since it was last called.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestWatch watches a controller that goes and comes back.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var kept []zeekapi.ClusterEvent
		status := zeekapi.Status{Controller: zeekapi.Process{Name: "c", Version: "v"}}
		answer := func(m zeekapi.Message) zeekapi.Message {
			mu.Lock()
			defer mu.Unlock()
			id := zeekapi.ReqID{ID: m.RequestID()}
			switch m.(type) {
			case zeekapi.EventsRequest:
				return zeekapi.EventsResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, kept)}}
			case zeekapi.StatusRequest:
				return zeekapi.StatusResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, status)}}
			}
			t.Errorf("unexpected %T", m)
			return nil
		}
		event := func(number uint64, text string) zeekapi.ClusterEvent {
			mu.Lock()
			defer mu.Unlock()
			n := zeekapi.ClusterEvent{Number: number, Time: time.Now(), Kind: zeekapi.EventLog, Text: text}
			kept = append(kept, n)
			return n
		}
		event(1, "before")
		controller := newController(t, answer)
		report := func(e zeekapi.ClusterEvent) {
			t.Helper()
			if err := controller.Say(t.Context(), zeekapi.EventReport{Event: e}); err != nil {
				t.Error(err)
			}
		}
		down := false
		tool := &clientcmd.Tool{
			People: true, Getenv: noEnv,
			Dial: func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
				mu.Lock()
				defer mu.Unlock()
				if down {
					return nil, context.DeadlineExceeded
				}
				return inProcess(controller)(ctx, o)
			},
		}
		var out lines
		ctx, interrupt := context.WithCancel(t.Context())
		root := newRoot(tool)
		root.SetArgs([]string{"watch"})
		root.SetOut(&out)
		ended := make(chan error)
		go func() { ended <- root.ExecuteContext(ctx) }()

		step := func(want ...string) {
			t.Helper()
			// Of the bubble's clock: everything has settled, and nothing else
			// is due at the same time.
			time.Sleep(time.Minute + 1234*time.Millisecond)
			var got []string
			for line := range strings.Lines(out.take()) {
				var object map[string]json.RawMessage
				if err := json.Unmarshal([]byte(line), &object); err != nil || len(object) != 1 {
					t.Fatalf("%q: %v", line, err)
				}
				for key, value := range object {
					var event struct{ Text string }
					if json.Unmarshal(value, &event) == nil && event.Text != "" {
						key += " " + event.Text
					}
					if key == "connection" {
						key += " " + string(value)
					}
					got = append(got, key)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		step("event before", "status")
		step() // nothing changes

		mu.Lock()
		status.Deployed = "config-1"
		mu.Unlock()
		report(event(2, "now"))
		step("event now", "status")

		event(3, "missed")
		report(event(4, "after a gap"))
		step("event missed", "event after a gap")

		mu.Lock()
		down = true
		mu.Unlock()
		controller.Close()
		step(`connection "lost"`)
		event(5, "meanwhile")
		mu.Lock()
		controller = newController(t, answer)
		down = false
		mu.Unlock()
		step(`connection "restored"`, "event meanwhile", "status")

		// A controller that lost its state counts from 1 again.
		mu.Lock()
		kept = nil
		mu.Unlock()
		report(event(1, "new"))
		step("event new")

		interrupt()
		if code := clientcmd.ExitCode(<-ended); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// TestInterruptedJob checks that nobody believes a job to have ended because
// the command that began it has.
func TestInterruptedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := zeekapi.Job{Number: 7, Started: time.Now(), Now: []string{"a"}, Next: []string{"b"}}
		controller := newController(t, func(m zeekapi.Message) zeekapi.Message {
			id := zeekapi.ReqID{ID: m.RequestID()}
			switch m.(type) {
			case zeekapi.EventsRequest:
				return zeekapi.EventsResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
			case zeekapi.RollingRestartRequest:
				return zeekapi.RollingRestartResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, job)}}
			case zeekapi.StatusRequest:
				return zeekapi.StatusResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, zeekapi.Status{Job: &job})}}
			}
			t.Errorf("unexpected %T", m)
			return nil
		})
		ctx, interrupt := context.WithCancel(t.Context())
		root := newRoot(&clientcmd.Tool{People: true, Getenv: noEnv, Dial: inProcess(controller)})
		root.SetArgs([]string{"rolling-restart"})
		var out, errs lines
		root.SetOut(&out)
		root.SetErr(&errs)
		ended := make(chan error)
		go func() { ended <- root.ExecuteContext(ctx) }()
		time.Sleep(time.Minute)
		interrupt()
		if code := clientcmd.ExitCode(<-ended); code != clientcmd.Interrupted {
			t.Errorf("exit code %d", code)
		}
		if got := errs.take(); !strings.Contains(got, "the controller continues rolling restart 7") {
			t.Errorf("%q", got)
		}
		if got := out.take(); got != "" {
			t.Errorf("%q", got)
		}
	})
}

func TestLogs(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{
		{"", 3, ""}, {"a", 3, "a\n"}, {"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 1, "c\n"}, {"\n\n", 1, "\n"}, {"a\n", 9, "a\n"},
	} {
		if got := clientcmd.LastLines(tt.text, tt.n); got != tt.want {
			t.Errorf("the last %d lines of %q are %q, want %q", tt.n, tt.text, got, tt.want)
		}
	}
	for _, tt := range []struct{ old, now, want string }{
		{"", "", ""}, {"", "a", "a"}, {"a", "a", ""}, {"a", "ab", "b"},
		{"abc", "bcd", "d"}, {"abc", "xyz", "xyz"}, {"abc", "", ""}, {"abab", "ababab", "ab"},
	} {
		if got := clientcmd.Grown(tt.old, tt.now); got != tt.want {
			t.Errorf("from %q to %q came %q, want %q", tt.old, tt.now, got, tt.want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Minute: "1h01m", 49 * time.Hour: "2d1h",
	} {
		if got := clientcmd.Age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestKeysAreDocumented checks that the help of the commands that zeek-client
// does not have names all keys of their JSON.
func TestKeysAreDocumented(t *testing.T) {
	help := map[string]string{}
	for _, cmd := range (&clientcmd.Tool{People: true}).Commands() {
		help[cmd.Name()] = cmd.Long
	}
	for command, v := range clientcmd.Views {
		var check func(reflect.Type)
		check = func(typ reflect.Type) {
			switch typ.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Map:
				check(typ.Elem())
			case reflect.Struct:
				for f := range typ.Fields() {
					key := f.Tag.Get("json")
					if key == "" {
						return // of some other package
					}
					if !regexp.MustCompile(`\b` + key + `\b`).MatchString(help[command]) {
						t.Errorf("the help of %s does not have %q", command, key)
					}
					if key != "last_deployment" && key != "job" { // which refer to other commands
						check(f.Type)
					}
				}
			}
		}
		check(reflect.TypeOf(v))
	}
}
