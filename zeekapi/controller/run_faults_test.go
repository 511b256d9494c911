package controller_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// site is a controller that listens on sockets.
type site struct {
	siteConfig
	t       *testing.T
	address string // for agents
	clients string // address for clients
	end     func()
}

// siteConfig is the configuration of a site.
type siteConfig struct {
	store          controller.Store
	native         string        // the address for agents; empty for any
	requestTimeout time.Duration // default one minute, which only failing tests reach
	shortTimeouts  bool          // short timeouts for silent peers
	guarded        bool          // access rules, though they permit everything
}

// peering returns the configuration of an endpoint of the site.
func (c siteConfig) peering(subscriptions ...string) peering.Config {
	p := peering.Config{Subscriptions: subscriptions, RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond, Log: zerolog.Nop()}
	if c.shortTimeouts {
		p.PingInterval, p.PeerTimeout = 100*time.Millisecond, 2*time.Second
	}
	return p
}

func newSite(t *testing.T, c siteConfig) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	atController := c.peering(controller.Topics(dialects)...)
	atController.ReceiveOverflow = broker.OverflowBlock
	endpoint, err := peering.New(atController)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := endpoint.Listen(ctx, cmp.Or(c.native, "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{Private: true, ReceiveOverflow: broker.OverflowBlock, SendOverflow: broker.OverflowDisconnect})
	if err != nil {
		t.Fatal(err)
	}
	settings := controller.DefaultSettings()
	settings.RequestTimeout = cmp.Or(c.requestTimeout, time.Minute)
	var access map[broker.Bus]*controller.Access
	if c.guarded {
		access = map[broker.Bus]*controller.Access{endpoint: &controller.Open, server: &controller.Open}
	}
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(ctx, listener) })
	group.Go(func() {
		err := controller.Run(ctx, controller.Config{
			Settings: settings, Buses: []broker.Bus{endpoint, server}, Dialer: endpoint,
			Dialects: dialects, Store: c.store, Access: access, Log: zerolog.Nop(),
		})
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	s := &site{siteConfig: c, t: t, address: addr.String(), clients: listener.Addr().String()}
	s.end = sync.OnceFunc(func() {
		cancel()
		endpoint.Close()
		server.Close()
		group.Wait()
	})
	t.Cleanup(s.end)
	return s
}

func (s *site) client() *party {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := websocket.Dial(ctx, websocket.ClientConfig{Address: s.clients, Subscriptions: []string{modern.Topics.Controller}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return &party{c, s.t, modern}
}

// remote is an agent that is connected with a socket.
type remote struct {
	*party
	name     string
	received chan string   // IDs of the received configurations
	mute     chan struct{} // closed to suppress responses to deployments
	ended    chan struct{}
}

// agent starts an agent that connects to an address and reconnects.
func (s *site) agent(name, address string) *remote {
	s.t.Helper()
	endpoint, err := peering.New(s.peering(modern.Topics.Agent(name)))
	if err != nil {
		s.t.Fatal(err)
	}
	a := &remote{
		party: &party{endpoint, s.t, modern}, name: name,
		received: make(chan string, 100), mute: make(chan struct{}), ended: make(chan struct{}),
	}
	go a.run()
	if err := endpoint.AddPeer(address); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(a.kill)
	return a
}

func (a *remote) run() {
	defer close(a.ended)
	topic := modern.Topics.Agent(a.name)
	for {
		notification, err := a.Next(context.Background())
		if err != nil {
			return
		}
		switch n := notification.(type) {
		case broker.PeerAdded:
			a.send(topic, hello(a.name))
		case broker.Received:
			ev, err := broker.ParseEvent(n.Message.Value)
			if err != nil {
				continue
			}
			msg, err := modern.Decode(ev)
			if err != nil {
				continue
			}
			if d, ok := msg.(zeekapi.AgentDeployRequest); ok {
				a.received <- d.Config.ID
				select {
				case <-a.mute:
					continue
				default:
				}
			}
			if answer := answerTo(controller.ToAgent{Instance: a.name, Message: msg}); answer != nil {
				a.send(topic, answer)
			}
		}
	}
}

func (a *remote) kill() {
	a.Close()
	<-a.ended
}

// waitFor waits until the agent receives a configuration.
func (a *remote) waitFor(config string) {
	a.t.Helper()
	for {
		select {
		case got := <-a.received:
			if got == config {
				return
			}
		case <-time.After(time.Minute):
			a.t.Fatalf("agent %s did not receive configuration %s", a.name, config)
		}
	}
}

// until repeats a request until the response is want.
func (p *party) until(request func(id string) zeekapi.Message, want string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for i := 0; ; i++ {
		id := fmt.Sprint("until-", i)
		got := p.answerTo(request(id))
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// answerTo sends a request and returns the results of the response.
func (p *party) answerTo(msg zeekapi.Message) string {
	p.t.Helper()
	p.send(p.dialect.Topics.Controller, msg)
	for {
		answer, ok := p.receive()
		if !ok {
			p.t.Fatalf("no response to %#v", msg)
		}
		if answer.RequestID() == msg.RequestID() && resultsOf(answer) != nil {
			return describeResults(answer)
		}
	}
}

// deployedID returns the ID of the deployed configuration.
func (p *party) deployedID() string {
	p.t.Helper()
	p.send(p.dialect.Topics.Controller, zeekapi.GetConfigurationRequest{ReqID: reqID("get"), Deployed: true})
	for {
		answer, ok := p.receive()
		if !ok {
			p.t.Fatal("no response")
		}
		if resp, ok := answer.(zeekapi.GetConfigurationResponse); ok {
			var c zeekapi.Configuration
			if resp.Result.Success && record.Unmarshal(resp.Result.Data, &c) != nil {
				p.t.Fatal("the response has no configuration")
			}
			return c.ID
		}
	}
}

func (p *party) untilDeployed(id string) {
	p.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for p.deployedID() != id {
		if time.Now().After(deadline) {
			p.t.Fatalf("configuration %s was not deployed", id)
		}
	}
}

// known waits until the controller knows the given number of agents, 0 or 1.
func (p *party) known(agents int) {
	p.t.Helper()
	p.until(func(id string) zeekapi.Message { return getNodes(id) }, map[int]string{
		0: " [F no instances connected]", 1: " [T a = []]",
	}[agents])
}

// An agent that is disconnected when a deployment begins gets the configuration
// when it returns.
func TestAgentKilledBeforeDeployment(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{requestTimeout: 2 * time.Second})
	a := s.agent("a", s.address)
	client := s.client()
	client.known(1)
	a.kill()
	client.known(0)
	client.ask(stage("r1", config("c1", "a")), "answer StageConfigurationResponse r1 [T = c1]")
	client.ask(deploy("r2"), "answer DeployResponse r2 [F request timed out] [F waited for a] [F no agent is connected for a; drain such an instance to deploy without it]")
	a = s.agent("a", s.address)
	a.waitFor("c1")
	client.untilDeployed("c1")
}

func TestAgentKilledDuringAndAfterDeployment(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{})
	a := s.agent("a", s.address)
	client := s.client()
	client.known(1)
	client.ask(set2(client, "r1", config("c1", "a")), "answer DeployResponse r1 [T a] [T = c1]")
	a.waitFor("c1")

	// During a deployment, the client gets the result of the restarted agent.
	close(a.mute)
	client.ask(stage("r3", config("c2", "a")), "answer StageConfigurationResponse r3 [T = c2]")
	client.send(modern.Topics.Controller, deploy("r4"))
	a.waitFor("c2")
	a.kill()
	a = s.agent("a", s.address)
	a.waitFor("c2")
	for {
		answer, ok := client.receive()
		if !ok {
			t.Fatal("no response")
		}
		if answer.RequestID() == "r4" && resultsOf(answer) != nil {
			if got := describeResults(answer); got != " [T a] [T = c2]" {
				t.Errorf("response%s, want success", got)
			}
			break
		}
	}

	// After the deployment, the restarted agent gets the configuration without a
	// request.
	a.kill()
	a = s.agent("a", s.address)
	a.waitFor("c2")
}

// proxy forwards connections. It can stop forwarding without closing them.
type proxy struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	cut   chan struct{} // closed to stop the current connections
}

func newProxy(t *testing.T, to string) *proxy {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, cut: make(chan struct{})}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.group.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, in, out)
		cut := p.cut
		p.mu.Unlock()
		p.group.Go(func() { forward(in, out, cut) })
		p.group.Go(func() { forward(out, in, cut) })
	}
}

// forward copies data until cut is closed, and then discards them.
func forward(from, to net.Conn, cut chan struct{}) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		select {
		case <-cut:
			_, _ = io.Copy(io.Discard, from)
			return
		default:
		}
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.cut)
	p.cut = make(chan struct{})
}

// When a connection stops transporting data, the agent reconnects and gets the
// deployment that it missed.
func TestDeployAfterConnectionStall(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{shortTimeouts: true})
	p := newProxy(t, s.address)
	a := s.agent("a", p.listener.Addr().String())
	client := s.client()
	client.known(1)
	client.ask(set2(client, "r1", config("c1", "a")), "answer DeployResponse r1 [T a] [T = c1]")
	a.waitFor("c1")
	client.ask(stage("r2", config("c2", "a")), "answer StageConfigurationResponse r2 [T = c2]")
	p.silence()
	client.send(modern.Topics.Controller, deploy("r3"))
	a.waitFor("c2")
	client.untilDeployed("c2")
}

// A deployment continues when its client disconnects.
func TestDeployContinuesAfterClientDisconnect(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{})
	a := s.agent("a", s.address)
	client := s.client()
	client.known(1)
	client.ask(stage("r1", config("c1", "a")), "answer StageConfigurationResponse r1 [T = c1]")
	close(a.mute)
	client.send(modern.Topics.Controller, deploy("r2"))
	a.waitFor("c1")
	client.Close()
	a.kill()
	s.agent("a", s.address).waitFor("c1")
	s.client().untilDeployed("c1")
}

// A client that sends requests without pause delays other clients, but does not
// block them.
func TestFloodingClientDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{})
	s.agent("a", s.address)
	client, flood := s.client(), s.client()
	client.known(1)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		ev, err := modern.Encode(zeekapi.TestTimeoutRequest{ReqID: reqID("flood"), WithState: true})
		if err != nil {
			t.Error(err)
			return
		}
		for i := 0; ctx.Err() == nil; i++ {
			ev.Args[0] = broker.String(fmt.Sprint("flood-", i))
			if err := broker.PublishEvent(ctx, flood, modern.Topics.Controller, ev); err != nil {
				return // disconnected, because it reads no responses
			}
		}
	})
	defer group.Wait()
	defer cancel()
	for i := range 5 {
		id := fmt.Sprint("r", i)
		client.ask(set2(client, id, config("c"+id, "a")), fmt.Sprintf("answer DeployResponse %s [T a] [T = c%s]", id, id))
	}
}

// A restarted controller at the same address continues with the stored state and
// the running agents.
func TestControllerRestart(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/controller.db"
	store := openStore(t, file)
	s := newSite(t, siteConfig{store: store, native: peertest.FreeAddress(t)})
	a := s.agent("a", s.address)
	client := s.client()
	client.known(1)
	client.ask(set2(client, "r1", config("c1", "a")), "answer DeployResponse r1 [T a] [T = c1]")
	a.waitFor("c1")
	s.end()
	store.Close()

	s = newSite(t, siteConfig{store: openStore(t, file), native: s.address})
	a.waitFor("c1")
	client = s.client()
	client.known(1)
	if got := client.deployedID(); got != "c1" {
		t.Errorf("the deployed configuration is %q after the restart, want c1", got)
	}
}

// Invalid messages are answered with Zeek's error message, on the same connection,
// and have no effect.
func TestInvalidMessagesGetErrorMessage(t *testing.T) {
	s := newSite(t, siteConfig{})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reports := make(chan error, 10)
	c, err := websocket.Dial(ctx, websocket.ClientConfig{
		Address: s.clients, Subscriptions: []string{modern.Topics.Controller}, OnError: func(e jsonv1.Error) { reports <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	other := s.client()
	for name, value := range map[string]broker.Value{
		"no event":            broker.String("x"),
		"unknown event":       broker.NewEvent("No::such", broker.Count(1)).Value(),
		"too few arguments":   broker.NewEvent("Management::Controller::API::stage_configuration_request", broker.String("r")).Value(),
		"wrong argument":      broker.NewEvent("Management::Controller::API::stage_configuration_request", broker.String("r"), broker.String("no configuration")).Value(),
		"event of the agents": broker.NewEvent("Management::Agent::API::no_such", broker.String("r")).Value(),
	} {
		if err := c.Publish(ctx, modern.Topics.Controller, value); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-reports:
			if want := "server reports deserialization_failed: failed to create Zeek event"; err.Error() != want {
				t.Errorf("%s: %v, want %s", name, err, want)
			}
		case <-ctx.Done():
			t.Fatalf("%s: no error message", name)
		}
	}
	other.ask(zeekapi.GetConfigurationRequest{ReqID: reqID("r1")}, "answer GetConfigurationResponse r1 [F no staged configuration available]")
}

// All clients hear the responses to a client, but not those to one that sends many
// requests. That one gets all of them.
func TestResponsesToFloodAreNotShared(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig{})
	flood, other := s.client(), s.client()
	flood.ask(zeekapi.GetInstancesRequest{ReqID: reqID("first")}, "answer GetInstancesResponse first [T = []]")
	const many = 1000
	for i := range many {
		flood.send(modern.Topics.Controller, zeekapi.GetInstancesRequest{ReqID: reqID(fmt.Sprint(i))})
	}
	for range many {
		if _, ok := flood.receive(); !ok {
			t.Fatal("a response is missing")
		}
	}
	other.send(modern.Topics.Controller, zeekapi.GetInstancesRequest{ReqID: reqID("own")})
	heard := make(map[string]bool)
	for !heard["own"] {
		answer, ok := other.receive()
		if !ok {
			t.Fatal("no response")
		}
		heard[answer.RequestID()] = true
	}
	if !heard["first"] || len(heard) > many/2 {
		t.Errorf("another client hears %d responses", len(heard))
	}
}
