package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/internal/recorded"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

const recordings = "../../testdata/recordings"

// TestReplay sends the recorded requests to Zeek's agents to ours, which must give
// the same responses, except for process IDs and the order of results. There are
// these differences:
//
//   - Zeek's agent treats standby as a deployment without a request ID, and
//     reports its timeout although there was no request: see unrequested.
//   - Zeek's agent lists a controller that shares its Supervisor, with the
//     agent's port instead of the controller's. Our agent runs no controllers:
//     see statuses.
//   - Zeek's agent reports a node that keeps crashing as PENDING, ours as CRASHED
//     or FAILED: see statuses.
//   - The agent of Zeek 5.0's ClusterAgent responds to a deployment before any
//     node has started. Ours waits for the nodes, which start quickly here.
//   - Zeek's agent waits for a node that keeps dying, and reports a timeout. Ours
//     has given up the node by then, and reports only its failure: see timedOut.
//   - Zeek's agent gives the output of a failed node as the only reason: see
//     normalize.
//   - In results of nodes, Zeek's agent puts the ID of its own request to the
//     nodes. Ours puts the ID of the request that it responds to: see normalize.
func TestReplay(t *testing.T) {
	type session struct {
		folder, agent string
		dialect       *zeekapi.Dialect
		self          Settings
		requests      int // number of requests in the recording
	}
	sessions := []session{
		{"zeek-8.0.10-management", "agent-one", management.Dialect(management.DefaultTopics), connecting("agent-one"), 15},
		{"zeek-8.0.10-two-instances", "agent-one", management.Dialect(management.DefaultTopics), connecting("agent-one"), 9},
		{"zeek-8.0.10-two-instances", "agent-two", management.Dialect(management.DefaultTopics), listening("agent-two", 2152), 6},
		{"zeek-5.0.10-cluster", "agent-one", clusteragent.Dialect(clusteragent.DefaultTopics), listening("agent-one", 2151), 10},
	}
	for _, folder := range recorded.Versions(t, recordings, "agent-controller-01.jsonl") {
		sessions = append(sessions, session{folder, "agent-one", management.Dialect(management.DefaultTopics), connecting("agent-one"), 9})
	}
	for _, tt := range sessions {
		t.Run(tt.folder+" "+tt.agent, func(t *testing.T) {
			events := recorded.Read(t, filepath.Join(recordings, tt.folder, "*agent*.jsonl"))
			f := newFleet(t, tt.self, nil)
			f.startUp = 20 * time.Millisecond
			f.dies = diesWithoutInterface
			f.answers = recordedAnswers(events, tt.dialect)
			requests := 0
			var want, got []response
			for _, ev := range events {
				m, err := tt.dialect.Decode(ev.Event)
				if errors.Is(err, zeekapi.ErrUnknown) || ev.Topic != tt.dialect.Topics.Agent(tt.agent) {
					continue
				}
				if err != nil {
					continue // Zeek's agent could not decode it either
				}
				if r, ok := normalize(m); ok {
					r.Results = slices.DeleteFunc(r.Results, timedOut)
					want = append(want, r)
					continue
				}
				f.until(epoch.Add(ev.At))
				if isRequest(m) {
					requests++
					f.step(Received{Dialect: tt.dialect, Message: m})
				}
			}
			f.pass(time.Minute)
			for _, o := range take[Publish](f) {
				switch o.Message.(type) {
				case zeekapi.AgentHello, zeekapi.AgentChange, zeekapi.AgentError:
					continue // not a response
				}
				// Encode and decode the message, because the dialect may not
				// preserve all fields.
				ev, err := tt.dialect.Encode(o.Message)
				if err != nil {
					t.Fatal(err)
				}
				m, err := tt.dialect.Decode(ev)
				if err != nil {
					t.Fatal(err)
				}
				r, ok := normalize(m)
				if !ok {
					t.Errorf("%T is not a response", m)
				}
				got = append(got, r)
			}
			want = slices.DeleteFunc(want, unrequested)
			byRequest := func(a, b response) int { return cmp.Or(cmp.Compare(a.ReqID, b.ReqID), cmp.Compare(a.Kind, b.Kind)) }
			slices.SortStableFunc(want, byRequest)
			slices.SortStableFunc(got, byRequest)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("Zeek's responses (-) and ours (+):\n%s", diff)
			}
			if requests != tt.requests {
				t.Errorf("%d requests in the recording, want %d", requests, tt.requests)
			}
		})
	}
}

func connecting(name string) Settings {
	return Settings{Name: name, EndpointID: "x", Connecting: true, Listen: netip.MustParseAddrPort("0.0.0.0:2151"), PID: 1}
}

func listening(name string, port uint16) Settings {
	return Settings{Name: name, EndpointID: "x", Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), port), PID: 1}
}

func isRequest(m zeekapi.Message) bool {
	return strings.HasSuffix(fmt.Sprintf("%T", m), "Request")
}

// diesWithoutInterface returns the exit of the worker that fails in the
// recordings, and nil for other nodes.
func diesWithoutInterface(n launch.Node) *launch.Exited {
	if n.Interface != "nosuchdev" {
		return nil
	}
	return &launch.Exited{Node: n.Name, Err: errors.New("exit status 1"), Outputs: zeekapi.NodeOutputs{
		Stderr: "fatal error in <params>, line 1: problem with interface nosuchdev (pcap_error: No such device exists (pcap_activate))",
	}}
}

// recordedAnswers returns a function that answers each request to nodes with
// the recorded responses.
func recordedAnswers(events []recorded.Event, d *zeekapi.Dialect) func(zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
	var questions []zeekapi.NodeDispatchRequest
	answers := make(map[string][]zeekapi.NodeDispatchResponse)
	for _, ev := range events {
		switch m, _ := d.Decode(ev.Event); m := m.(type) {
		case zeekapi.NodeDispatchRequest:
			asked := func(q zeekapi.NodeDispatchRequest) bool { return q.ID == m.ID }
			if !slices.ContainsFunc(questions, asked) {
				questions = append(questions, m)
			}
		case zeekapi.NodeDispatchResponse:
			answers[m.ID] = append(answers[m.ID], m)
		}
	}
	return func(req zeekapi.NodeDispatchRequest) []zeekapi.NodeDispatchResponse {
		i := slices.IndexFunc(questions, func(q zeekapi.NodeDispatchRequest) bool {
			return slices.Equal(q.Action, req.Action) &&
				slices.ContainsFunc(answers[q.ID], func(a zeekapi.NodeDispatchResponse) bool { return slices.Contains(req.Nodes, a.Result.Node) })
		})
		if i < 0 {
			return nil
		}
		q := questions[i]
		questions = slices.Delete(questions, i, i+1)
		var out []zeekapi.NodeDispatchResponse
		for _, a := range answers[q.ID] {
			if slices.Contains(req.Nodes, a.Result.Node) {
				a.ReqID, a.Result.ReqID = req.ReqID, req.ID
				out = append(out, a)
			}
		}
		return out
	}
}

// response is a response without the parts that may differ.
type response struct {
	Kind    string
	ReqID   string
	Results []string
}

func unrequested(r response) bool { return r.Kind == "AgentDeployResponse" && r.ReqID == "" }

func timedOut(result string) bool { return strings.Contains(result, `error="request timed out"`) }

func normalize(m zeekapi.Message) (response, bool) {
	r := response{Kind: strings.TrimPrefix(fmt.Sprintf("%T", m), "zeekapi."), ReqID: m.RequestID()}
	var results []zeekapi.Result
	switch m := m.(type) {
	case zeekapi.AgentWelcomeResponse:
		results = []zeekapi.Result{m.Result}
	case zeekapi.AgentStandbyResponse:
		results = []zeekapi.Result{m.Result}
	case zeekapi.AgentGetNodesResponse:
		results = []zeekapi.Result{m.Result}
	case zeekapi.AgentDeployResponse:
		results = m.Results
	case zeekapi.AgentDispatchResponse:
		results = m.Results
	case zeekapi.AgentRestartResponse:
		results = m.Results
	default:
		return response{}, false
	}
	for _, x := range results {
		if _, ok := m.(zeekapi.AgentDispatchResponse); ok {
			x.ReqID = r.ReqID
		}
		if _, ok := m.(zeekapi.AgentDeployResponse); ok && x.Node != "" {
			x.Error = ""
		}
		text := fmt.Sprintf("reqid=%s success=%t instance=%s error=%q node=%s", x.ReqID, x.Success, x.Instance, x.Error, x.Node)
		if r.Kind == "AgentGetNodesResponse" {
			text += " nodes=" + statuses(x)
		} else if r.Kind != "AgentDispatchResponse" || x.Success {
			text += " data=" + x.Data.String()
		}
		r.Results = append(r.Results, text)
	}
	slices.Sort(r.Results)
	return r, true
}

func statuses(r zeekapi.Result) string {
	var list []zeekapi.NodeStatus
	if err := record.Unmarshal(r.Data, &list); err != nil {
		return err.Error()
	}
	var lines []string
	for _, s := range list {
		switch {
		case s.ManagementRole == zeekapi.ManagementController:
			continue
		case s.State != zeekapi.StateRunning:
			s.State, s.PID = zeekapi.StatePending, 0
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s pid=%t %d %d", s.Node, s.State, s.ManagementRole, s.ClusterRole, s.PID != 0, s.Port.Number, s.MetricsPort.Number))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}
