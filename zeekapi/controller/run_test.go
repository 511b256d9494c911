package controller_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

var (
	modern   = management.Dialect(management.DefaultTopics)
	old      = clusteragent.Dialect(clusteragent.DefaultTopics)
	dialects = []*zeekapi.Dialect{modern, old}
)

// network is a running controller on a hub.
type network struct {
	t      *testing.T
	hub    *membus.Hub
	bus    *membus.Endpoint // the controller's
	log    *lines
	cancel context.CancelFunc
	done   chan error
}

// lines is a log with one line per entry.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return strings.Split(strings.TrimSuffix(l.buf.String(), "\n"), "\n")
}

func run(t *testing.T, cfg controller.Config) *network {
	return runBy(t, cfg, controller.Run)
}

// runBy is run with a function in place of controller.Run.
func runBy(t *testing.T, cfg controller.Config, run func(context.Context, controller.Config) error) *network {
	n := &network{t: t, hub: membus.New(), log: new(lines), done: make(chan error, 1)}
	if cfg.Dialects == nil {
		cfg.Dialects = dialects
	}
	n.bus = n.hub.Endpoint(controller.Topics(cfg.Dialects)...)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	if cfg.Settings == (controller.Settings{}) {
		cfg.Settings = controller.DefaultSettings()
	}
	cfg.Buses = []broker.Bus{n.bus}
	if a := cfg.Access[nil]; a != nil { // the key nil stands for the bus of the network
		cfg.Access = map[broker.Bus]*controller.Access{n.bus: a}
	}
	cfg.Log = zerolog.New(n.log).Level(zerolog.WarnLevel)
	go func() { n.done <- run(ctx, cfg) }()
	t.Cleanup(func() {
		n.cancel()
		if err := <-n.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		n.bus.Close()
	})
	return n
}

// party is an endpoint that uses a dialect.
type party struct {
	broker.Bus
	t       *testing.T
	dialect *zeekapi.Dialect
}

func (n *network) party(d *zeekapi.Dialect, prefixes ...string) *party {
	return &party{n.hub.Endpoint(prefixes...), n.t, d}
}

func (p *party) send(topic string, msg zeekapi.Message) {
	p.t.Helper()
	ev, err := p.dialect.Encode(msg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.publish(topic, ev.Value())
}

func (p *party) publish(topic string, v broker.Value) {
	p.t.Helper()
	if err := p.Publish(context.Background(), topic, v); err != nil && !errors.Is(err, broker.ErrClosed) {
		p.t.Error(err)
	}
}

// receive returns the next message in the party's dialect, or false at the end.
func (p *party) receive() (zeekapi.Message, bool) {
	for {
		notification, err := p.Next(context.Background())
		if err != nil {
			return nil, false
		}
		received, ok := notification.(broker.Received)
		if !ok {
			continue
		}
		ev, err := broker.ParseEvent(received.Message.Value)
		if err != nil {
			continue
		}
		if msg, err := p.dialect.Decode(ev); err == nil {
			return msg, true
		}
	}
}

// agent connects an agent that performs every request, and sends its hello.
func (n *network) agent(d *zeekapi.Dialect, name string) *party {
	a := n.party(d, d.Topics.Agent(name))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			msg, ok := a.receive()
			if !ok {
				return
			}
			if answer := answerTo(controller.ToAgent{Instance: name, Message: msg}); answer != nil {
				a.send(d.Topics.Agent(name), answer)
			}
		}
	}()
	n.t.Cleanup(func() {
		a.Close()
		<-done
	})
	a.send(d.Topics.Agent(name), hello(name))
	return a
}

func (n *network) client(d *zeekapi.Dialect) *party {
	c := n.party(d, d.Topics.Controller)
	n.t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a request and checks the response, in the notation of describe. The
// order of the results is ignored.
func (p *party) ask(msg zeekapi.Message, want string) {
	p.t.Helper()
	p.send(p.dialect.Topics.Controller, msg)
	answer, ok := p.receive()
	for ok && answer.RequestID() != msg.RequestID() {
		answer, ok = p.receive()
	}
	if !ok {
		p.t.Fatalf("no response to %#v", msg)
	}
	parts := func(s string) []string { return slices.Sorted(strings.SplitSeq(s, " [")) }
	if diff := cmp.Diff(parts(want), parts(describe(controller.ToClients{Message: answer}))); diff != "" {
		p.t.Errorf("response (-want +got)\n%s", diff)
	}
}

func getInstances(id string) zeekapi.Message {
	return zeekapi.GetInstancesRequest{ReqID: zeekapi.ReqID{ID: id}}
}

func TestRun(t *testing.T) {
	n := run(t, controller.Config{})
	n.agent(modern, "m")
	n.agent(old, "o")
	client := n.client(modern)
	client.ask(stage("r1", config("c1", "m", "o")), "answer StageConfigurationResponse r1 [T = c1]")
	client.ask(deploy("r2"), "answer DeployResponse r2 [T m] [T o] [T = c1]")
	client.ask(getNodes("r3"), "answer GetNodesResponse r3 [T m = []] [T o = []]")
	client.ask(restart("r4"), "answer RestartResponse r4 [F wo not supported by the agent]")
	client.ask(getID("r5", "x", "wm"), "answer GetIDValueResponse r5")

	oldClient := n.client(old)
	oldClient.ask(set("r6", config("c2", "m", "o")), "answer SetConfigurationResponse r6 [T m] [T o]")
	oldClient.ask(getNodes("r7"), "answer GetNodesResponse r7 [T m = []] [T o = []]")
	client.ask(zeekapi.GetConfigurationRequest{ReqID: zeekapi.ReqID{ID: "r8"}, Deployed: true},
		`answer GetConfigurationResponse r8 [T = ["c2", {["m", 127.0.0.1, nil], ["o", 127.0.0.1, nil]}, `+
			`{["wm", "m", Supervisor::WORKER, Management::RUNNING, nil, nil, nil, nil, nil, {}, 9000/tcp], `+
			`["wo", "o", Supervisor::WORKER, Management::RUNNING, nil, nil, nil, nil, nil, {}, 9001/tcp]}]]`)
}

// The controller uses only one dialect with an agent that uses several: the first
// in its own configuration.
func TestRunUsesOneDialectPerAgent(t *testing.T) {
	n := run(t, controller.Config{})
	a := n.party(old, modern.Topics.Agent("a"), old.Topics.Agent("a"))
	defer a.Close()
	a.send(old.Topics.Agent("a"), hello("a"))
	a.dialect = modern
	a.send(modern.Topics.Agent("a"), hello("a"))
	client := n.client(modern)
	client.send(modern.Topics.Controller, getNodes("r1"))
	client.ask(getInstances("r2"), `answer GetInstancesResponse r2 [T = [["a", 127.0.0.1, nil]]]`)
	a.Close()
	var topics []string
	for {
		notification, err := a.Next(context.Background())
		if err != nil {
			break
		}
		if received, ok := notification.(broker.Received); ok {
			topics = append(topics, received.Message.Topic)
		}
	}
	if diff := cmp.Diff([]string{modern.Topics.Agent("a")}, topics); diff != "" {
		t.Errorf("topics of messages to the agent (-want +got)\n%s", diff)
	}
}

// An invalid message is logged once and has no other effect.
func TestRunIgnoresInvalidMessages(t *testing.T) {
	n := run(t, controller.Config{})
	n.agent(modern, "m")
	client, other := n.client(modern), n.client(old)
	client.ask(set2(client, "r1", config("c1", "m")), "answer DeployResponse r1 [T m] [T = c1]")
	n.log.take()

	agentTopic, controllerTopic := modern.Topics.Agent("m"), modern.Topics.Controller
	event := func(name string, args ...broker.Value) broker.Value { return broker.NewEvent(name, args...).Value() }
	for _, tt := range []struct {
		name, topic string
		value       broker.Value
		want        string
	}{
		{"not an event", controllerTopic, broker.String("x"), "ignoring a message that is no event"},
		{"foreign event", agentTopic, event("Other::event"), "ignoring an event that is not of the management API"},
		{"other dialect", controllerTopic, event("ClusterController::API::get_instances_request", broker.String("x")), "ignoring an event that is not of the management API"},
		{"wrong number of arguments", controllerTopic, event("Management::Controller::API::deploy_request"), "ignoring an event with wrong arguments"},
		{"wrong argument type", agentTopic, event("Management::Agent::API::agent_welcome_response", broker.String("x"), broker.Count(1)), "ignoring an event with wrong arguments"},
		{"hello on the topic of another agent", agentTopic, event("Management::Agent::API::notify_agent_hello", broker.String("x"), broker.String(""), broker.Boolean(true), broker.Count(1)),
			"ignoring an agent that speaks on the topic of another"},
		{"event of an unknown peer in another dialect", old.Topics.Agent("m"), event("ClusterAgent::API::notify_error", broker.String("m"), broker.String("oops"), broker.String("")), "ignoring what a peer tells that is no instance's agent"},
		{"subtopic", controllerTopic + "/x", event("Management::Controller::API::deploy_request"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other.publish(tt.topic, tt.value)
			client.ask(getInstances("r2"), `answer GetInstancesResponse r2 [T = [["m", 127.0.0.1, nil]]]`)
			got := n.log.take()
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("log is %q, want one line with %q", got, tt.want)
			}
		})
	}
	client.ask(restart("r3", "x"), "answer RestartResponse r3 [F x unknown cluster node]")
	client.ask(getNodes("r4"), "answer GetNodesResponse r4 [T m = []]")
}

// set2 stages c and returns the request to deploy it.
func set2(client *party, id string, c zeekapi.Configuration) zeekapi.Message {
	client.ask(stage(id, c), "answer StageConfigurationResponse "+id+" [T = "+c.ID+"]")
	return deploy(id)
}

func TestRunTimesOutRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, controller.Config{})
		client := n.client(modern)
		began := time.Now()
		client.ask(zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r1"}, WithState: true},
			"answer TestTimeoutResponse r1 [F request timed out]")
		if took := time.Since(began); took != controller.DefaultSettings().RequestTimeout {
			t.Errorf("the request timed out after %v", took)
		}
	})
}

// A request that is pending when the controller ends gets a response, also if the controller
// has taken it only just before.
func TestRunEndsWithRequests(t *testing.T) {
	taken := make(chan struct{})
	n := run(t, controller.Config{
		Store: openStore(t, filepath.Join(t.TempDir(), "state")),
		Observe: func(_ controller.Snapshot, in controller.Input, _ []controller.Output) {
			if _, ok := in.(controller.FromClient); ok {
				close(taken)
			}
		},
	})
	client := n.client(modern)
	client.send(modern.Topics.Controller, zeekapi.TestTimeoutRequest{ReqID: zeekapi.ReqID{ID: "r1"}, WithState: true})
	<-taken
	n.cancel()
	answer, ok := client.receive()
	if want := "answer TestTimeoutResponse r1 [F interrupted, because the controller ends; see the status for the outcome]"; !ok ||
		describe(controller.ToClients{Message: answer}) != want {
		t.Errorf("got %v, want %s", answer, want)
	}
}

// slowAlerts are alerts whose test lasts until end is closed, or the controller ends.
type slowAlerts struct{ end chan struct{} }

func (slowAlerts) Present() zeekapi.Alerts { return zeekapi.Alerts{} }

func (s slowAlerts) Test(ctx context.Context, id string) []zeekapi.Result {
	select {
	case <-ctx.Done():
	case <-s.end:
	}
	return []zeekapi.Result{zeekapi.Failure(id, "not sent")}
}

func (slowAlerts) Next(ctx context.Context) ([]zeekapi.ClusterEvent, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// farSites has no sites, and asks other machines for all of them until the controller ends.
type farSites struct{ controller.RemoteSites }

func (farSites) Keep([]string, time.Duration) error { return nil }
func (farSites) Local(string) bool                  { return false }
func (farSites) Fetch(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// Every request that is under way when the controller ends has a response: also those of which
// the work is done outside the loop, or whose input waits for the loop.
func TestRunEndsWithWork(t *testing.T) {
	id := zeekapi.ReqID{ID: "r1"}
	test, download := zeekapi.TestAlertsRequest{ReqID: id}, zeekapi.DownloadSiteRequest{ReqID: id, Site: strings.Repeat("0", 64)}
	const tested, refused = "answer TestAlertsResponse r1 [F not sent]", "r1 [F the controller is shutting down]"
	for _, tt := range []struct {
		name string
		work func(e *endingWork)
		want string
	}{
		{"alert test", func(e *endingWork) { e.ask(test) }, tested},
		{"alert test whose result waits", func(e *endingWork) { e.ask(test); e.block(); close(e.tested) }, tested},
		{"download", func(e *endingWork) { e.ask(download) }, "answer DownloadSiteResponse " + refused},
		{"download, graceful end", func(e *endingWork) { e.ask(download); close(e.ending) }, "answer DownloadSiteResponse " + refused},
		{"request that waits", func(e *endingWork) { e.block(); e.ask(zeekapi.StatusRequest{ReqID: id}) }, ""}, // refused or not
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &endingWork{tested: make(chan struct{}), ending: make(chan struct{}), resume: make(chan struct{})}
				n := run(t, controller.Config{
					Dialects: allDialects, Alerts: slowAlerts{e.tested}, Sites: farSites{}, Ending: e.ending, Observe: e.observe,
				})
				e.client = n.client(own)
				tt.work(e)
				synctest.Wait()
				n.cancel()
				close(e.resume)
				if got := e.response(t, "r1"); tt.want != "" && got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// endingWork is a controller that ends, with its client.
type endingWork struct {
	client                 *party
	tested, ending, resume chan struct{}
}

func (e *endingWork) ask(msg zeekapi.Message) {
	e.client.send(own.Topics.Controller, msg)
	synctest.Wait()
}

// block makes the loop take no further input until resume is closed.
func (e *endingWork) block() { e.ask(zeekapi.HistoryRequest{ReqID: zeekapi.ReqID{ID: "block"}}) }

func (e *endingWork) observe(_ controller.Snapshot, in controller.Input, _ []controller.Output) {
	if c, ok := in.(controller.FromClient); ok && zeekapi.RequestOf(c.Message) == zeekapi.HistoryCall.Request {
		<-e.resume
	}
}

// response returns the response to a request.
func (e *endingWork) response(t *testing.T, id string) string {
	t.Helper()
	for {
		msg, ok := e.client.receive()
		if !ok {
			t.Fatal("no response")
		}
		if request, _ := zeekapi.ResponseOf(msg); request != nil && msg.RequestID() == id {
			return describe(controller.ToClients{Message: msg})
		}
	}
}

type fakeDialer chan string

func (d fakeDialer) AddPeer(address string) error { d <- "dial " + address; return nil }
func (d fakeDialer) RemovePeer(address string) error {
	d <- "undial " + address
	return errors.New("no")
}

func TestRunDialsListeningAgents(t *testing.T) {
	for _, dialer := range []fakeDialer{make(fakeDialer, 2), nil} {
		cfg := controller.Config{}
		if dialer != nil {
			cfg.Dialer = dialer
		}
		n := run(t, cfg)
		client := n.client(old)
		client.send(old.Topics.Controller, set("r1", listening(config("c1", "a"), "a", "10.0.0.1:2151")))
		client.ask(set("r2", config("c2")), "answer SetConfigurationResponse r2 [F request r1 still pending] [F waiting for a]")
		if dialer != nil {
			if got := <-dialer; got != "dial 10.0.0.1:2151" {
				t.Error(got)
			}
		} else if got := n.log.take(); len(got) != 1 || !strings.Contains(got[0], "cannot reach an agent that listens") {
			t.Errorf("log is %q, want one line about the missing dialer", got)
		}
	}
}

// Without requests, Run calls Observe at each beat, and returns when Ending is
// closed.
func TestRunBeatsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := membus.New().Endpoint(controller.Topics(dialects)...)
		defer bus.Close()
		beats, ending, began := 0, make(chan struct{}), time.Now()
		err := controller.Run(t.Context(), controller.Config{
			Settings: controller.DefaultSettings(), Buses: []broker.Bus{bus}, Dialects: dialects,
			Beat: time.Second, Ending: ending,
			Observe: func(_ controller.Snapshot, in controller.Input, _ []controller.Output) {
				if _, tick := in.(controller.Tick); !tick {
					return
				}
				if beats++; beats == 60 {
					close(ending)
				}
			},
		})
		if took := time.Since(began); err != nil || took != time.Minute {
			t.Errorf("%d beats, one per second, in %s, then %v", beats, took, err)
		}
	})
}

// A restarted controller continues with the stored state.
func TestRunContinuesWithStoredState(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "controller.db")
	for start, name := range []string{"first start", "second start"} {
		t.Run(name, func(t *testing.T) {
			n := run(t, controller.Config{Store: openStore(t, file)})
			client := n.client(modern)
			if start == 0 {
				n.agent(modern, "a")
				client.ask(set2(client, "r1", config("c1", "a")), "answer DeployResponse r1 [T a] [T = c1]")
				return
			}
			// The agent gets the configuration without a request of a client.
			a := n.party(modern, modern.Topics.Agent("a"))
			defer a.Close()
			a.send(modern.Topics.Agent("a"), hello("a"))
			msg, _ := a.receive()
			a.send(modern.Topics.Agent("a"), answerTo(controller.ToAgent{Instance: "a", Message: msg}))
			msg, _ = a.receive()
			if req, ok := msg.(zeekapi.AgentDeployRequest); !ok || req.Config.ID != "c1" {
				t.Errorf("the agent got %#v, want a request to deploy c1", msg)
			}
		})
	}
}

// Run calls Loaded after it has loaded the state, and not if that fails.
func TestRunCallsLoadedAfterLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.db")
	store, loaded := openStore(t, file), make(chan struct{})
	n := run(t, controller.Config{Store: store, Loaded: func() { close(loaded) }})
	<-loaded

	closed := openStore(t, file+"2")
	closed.Close()
	err := controller.Run(t.Context(), controller.Config{Buses: []broker.Bus{n.bus}, Dialects: dialects, Store: closed, Loaded: func() { t.Error("Loaded was called without a state") }})
	if err == nil {
		t.Error("no error for a closed store")
	}
}
