package clientcmd_test

import (
	"encoding/json"
	"io"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// screen returns a terminal of 80 columns that can update lines.
func screen(io.Writer) terminal.Screen {
	return terminal.Screen{Terminal: true, Color: true, Moves: true, Size: func() (int, int) { return 80, 200 }}
}

func noEnv(string) string { return "" }

// unsafeText has control sequences and characters with which a peer could control a
// terminal.
const unsafeText = "x\x1b[2J\x1b]0;title\x07\r\u202e\u009b31m"

var unsafeOutputs = zeekapi.NodeOutputs{Stdout: unsafeText + "\n", Stderr: unsafeText + "\n"}

// unsafeResponse returns responses that have unsafeText in all strings.
func unsafeResponse(t *testing.T) func(zeekapi.Message) zeekapi.Message {
	now := time.Now()
	node := zeekapi.NodeStatus{Node: unsafeText, State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}
	instance := zeekapi.Instance{Name: unsafeText, Host: netip.MustParseAddr("10.0.0.1")}
	config := zeekapi.Configuration{
		ID: unsafeText, Instances: []zeekapi.Instance{instance},
		Nodes: []zeekapi.Node{{Name: unsafeText, Instance: unsafeText, Role: zeekapi.RoleWorker, State: zeekapi.StateRunning, Interface: unsafeText}},
	}
	deployment := zeekapi.Deployment{Number: 1, Config: unsafeText, Action: unsafeText, By: unsafeText, Started: now, Outcome: unsafeText, Errors: []string{unsafeText, unsafeText}}
	job := zeekapi.Job{Number: 1, By: unsafeText, Started: now, Ended: now, Done: []string{unsafeText}, Now: []string{unsafeText}, Next: []string{unsafeText}, Error: unsafeText}
	ok := func(v any) zeekapi.Result { return zeekapi.Result{Success: true, Data: marshal(t, v)} }
	results := []zeekapi.Result{
		{Instance: unsafeText, Node: unsafeText, Data: marshal(t, unsafeOutputs)}, {Error: unsafeText}, {Success: true, Data: broker.String(unsafeText)},
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
			in.Instance = unsafeText
			return zeekapi.GetNodesResponse{ReqID: id, Results: []zeekapi.Result{in, {Instance: unsafeText, Error: unsafeText}}}
		case zeekapi.GetIDValueRequest:
			return zeekapi.GetIDValueResponse{ReqID: id, Results: []zeekapi.Result{
				{Success: true, Node: unsafeText, Data: marshal(t, `"\u001b[2J\u202e"`)}, {Node: unsafeText, Error: unsafeText},
			}}
		case zeekapi.RestartRequest:
			return zeekapi.RestartResponse{ReqID: id, Results: results[:2]}
		case zeekapi.StatusRequest:
			return zeekapi.StatusResponse{ReqID: id, Result: ok(zeekapi.Status{
				Controller: zeekapi.Process{Name: unsafeText, Version: unsafeText}, Staged: unsafeText, Deployed: unsafeText, Target: unsafeText, Last: &deployment, Job: &job,
				Instances: []zeekapi.InstanceStatus{{
					Instance: instance, Connected: true, Agent: zeekapi.Process{Name: unsafeText, Version: unsafeText}, Zeek: unsafeText, LastError: unsafeText,
					Nodes: []zeekapi.NodeDetail{{Status: node, LastError: unsafeText, Edited: []string{unsafeText}}},
				}},
			})}
		case zeekapi.DryRunRequest:
			changes := []zeekapi.Change{{Name: unsafeText, Kind: "changed", Fields: []zeekapi.FieldChange{{Field: unsafeText, Old: unsafeText, New: unsafeText}}}}
			return zeekapi.DryRunResponse{ReqID: id, Results: []zeekapi.Result{ok(zeekapi.Diff{
				From: unsafeText, To: unsafeText, Instances: changes, Nodes: changes, Missing: []string{unsafeText},
			})}}
		case zeekapi.DeployStagedRequest:
			return zeekapi.DeployStagedResponse{ReqID: id, Results: results}
		case zeekapi.CheckRequest:
			return zeekapi.CheckResponse{ReqID: id, Results: append(results, zeekapi.Result{Success: true, Instance: unsafeText, Data: broker.String(unsafeText)})}
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
			return zeekapi.EventsResponse{ReqID: id, Result: ok([]zeekapi.ClusterEvent{{Number: 1, Time: now, Kind: unsafeText, Instance: unsafeText, Node: unsafeText, Text: unsafeText}})}
		case zeekapi.FiguresRequest:
			return zeekapi.FiguresResponse{ReqID: id, Result: ok(unsafeFigures(node, now))}
		case zeekapi.ScriptsRequest:
			scripts := ok(zeekapi.NodeScripts{
				Scripts: []zeekapi.LoadedScript{{Path: unsafeText, Hash: unsafeText, Changed: true}}, Changes: []string{unsafeText}, Omitted: math.MaxUint64,
			})
			scripts.Node = unsafeText
			return zeekapi.ScriptsResponse{ReqID: id, Results: append(results[:2:2], scripts)}
		case zeekapi.LogsRequest:
			return zeekapi.LogsResponse{ReqID: id, Result: ok(unsafeOutputs)}
		}
		t.Errorf("unexpected %T", m)
		return nil
	}
}

// unsafeFigures has texts and numbers with which a peer could confuse a command.
func unsafeFigures(node zeekapi.NodeStatus, now time.Time) zeekapi.Figures {
	traffic := zeekapi.Traffic{
		Measured: now, Received: math.MaxUint64, Dropped: math.MaxUint64, Link: math.MaxUint64, Bytes: math.MaxUint64,
		Rates: &zeekapi.TrafficRates{Period: -1, Received: math.NaN(), Dropped: math.Inf(1), Link: math.Inf(-1), Bytes: -1},
	}
	spaces := []zeekapi.DirectorySpace{
		{Purpose: unsafeText, Path: unsafeText, Error: unsafeText},
		{Purpose: unsafeText, Path: unsafeText, Used: math.MaxUint64, Free: math.MaxUint64, Growth: math.NaN(), Period: 1, FullIn: math.MaxInt64},
		{Purpose: unsafeText, Path: unsafeText, Growth: math.Inf(-1), Period: math.MaxInt64, FullIn: -1},
	}
	return zeekapi.Figures{
		Controller: unsafeText, Directories: spaces,
		Instances: []zeekapi.InstanceFigures{{
			Instance: unsafeText, Error: unsafeText, Note: unsafeText, Directories: spaces,
			Nodes: []zeekapi.NodeDetail{{
				Status: node, CPU: math.NaN(), Memory: math.MaxUint64, Threads: math.MaxUint64, Files: math.MaxUint64, Started: now.AddDate(1000, 0, 0),
				Interface: unsafeText, Traffic: &traffic, Silent: unsafeText,
				Connections: &zeekapi.Connections{Backend: unsafeText, Seen: math.MaxUint64, Missing: []string{unsafeText, unsafeText}, More: math.MaxUint64},
			}},
			Interfaces: []zeekapi.InterfaceTraffic{{Name: unsafeText, Traffic: traffic}},
		}},
	}
}

// ownSequences matches the control sequences that package terminal writes.
var ownSequences = regexp.MustCompile(`\x1b\[([0-9]+m|[0-9]+A|J)`)

// TestTerminalOutputIsEscaped checks that commands escape control characters in
// responses when they write to a terminal.
func TestTerminalOutputIsEscaped(t *testing.T) {
	for _, people := range []bool{true, false} {
		for _, command := range []string{
			"get-instances", "get-nodes", "get-config", "get-config --as-json", "get-id-value x", "deploy", "restart",
			"status", "diff", "history", "rollback", "rolling-restart", "rolling-restart --cancel",
			"drain i", "undrain i", "logs n", "events", "get-config --number 1", "deploy --force", "deploy --dry-run", "deploy --check",
			"top --once", "top --once --json", "netstats", "netstats --json", "peers", "peers --json", "df", "df --json", "scripts", "scripts --json",
		} {
			args := strings.Fields(command)
			if !people && !slices.ContainsFunc(new(clientcmd.Tool).Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) ||
				!people && strings.Contains(command, "--") && !strings.Contains(command, "--as-json") {
				continue
			}
			t.Run(command, func(t *testing.T) {
				tool := &clientcmd.Tool{Extended: people, Dial: inProcess(newController(t, unsafeResponse(t))), Look: screen}
				got := runCommand(t, tool, "", args...)
				all := got.stdout + got.stderr
				if all == "" {
					t.Fatal("no output")
				}
				if slices.Contains(args, "--json") && !json.Valid([]byte(got.stdout)) {
					t.Errorf("no JSON: %q", all)
				}
				text := all
				if people {
					text = ownSequences.ReplaceAllString(text, "")
				}
				if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' && (r != '\r' || !people) }); i >= 0 {
					t.Errorf("unescaped %q in %q", text[i:], all)
				}
				if strings.Contains(ownSequences.FindString(text), "31m") {
					t.Errorf("unescaped colour in %q", all)
				}
			})
		}
	}
}
