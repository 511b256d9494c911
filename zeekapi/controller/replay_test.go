package controller_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/internal/recorded"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// TestReplay feeds the recorded inputs of Zeek's controller to the machine, which
// must send the same messages to agents and clients. IDs that a controller
// generates are mapped. The order of messages to several agents, which is random
// in Zeek, is ignored.
func TestReplay(t *testing.T) {
	type session struct {
		folder  string
		dialect *zeekapi.Dialect
		agents  map[string]peerOf // by recording file
		clients string            // prefix of the recording files of clients

		// deviations maps requests with a response that differs from Zeek's to
		// the reason.
		deviations map[string]string
	}
	sessions := []session{
		{
			folder:  "zeek-8.0.10-management",
			dialect: management.Dialect(management.DefaultTopics),
			agents:  map[string]peerOf{"agent-controller-01": {side: recording.Client, addr: "127.0.0.1:40000"}},
			clients: "client-controller-",
		},
		{
			folder:  "zeek-8.0.10-two-instances",
			dialect: management.Dialect(management.DefaultTopics),
			agents: map[string]peerOf{
				"agent-controller-01": {side: recording.Client, addr: "127.0.0.1:40000"},
				// The controller connects to this agent.
				"agent-two-01": {side: recording.Server, addr: "127.0.0.1:2152", killed: true},
			},
			clients: "client-controller-",
		},
		{
			folder:  "zeek-5.0.10-cluster",
			dialect: clusteragent.Dialect(clusteragent.DefaultTopics),
			agents:  map[string]peerOf{"agent-01": {side: recording.Server, addr: "127.0.0.1:2151"}},
			clients: "controller-",
			deviations: map[string]string{
				"req-7": "a configuration without instances is deployed, where Zeek's controller forgets to answer",
			},
		},
	}
	for _, folder := range recorded.Versions(t, "../../testdata/recordings", "agent-controller-01.jsonl") {
		sessions = append(sessions, session{
			folder:  folder,
			dialect: management.Dialect(management.DefaultTopics),
			agents:  map[string]peerOf{"agent-controller-01": {side: recording.Client, addr: "127.0.0.1:40000"}},
			clients: "client-controller-",
		})
	}
	for _, tt := range sessions {
		t.Run(tt.folder, func(t *testing.T) {
			t.Parallel()
			r := newReplay(t, tt.dialect)
			r.deviations = tt.deviations
			events := recorded.Read(t, "../../testdata/recordings/"+tt.folder+"/*.jsonl")
			last := make(map[string]int)
			for i, ev := range events {
				last[ev.File] = i
			}
			for i, ev := range events {
				if peer, ok := tt.agents[ev.File]; ok {
					r.agentEvent(ev, peer)
					if peer.killed && i == last[ev.File] {
						r.kill(ev)
					}
				} else if strings.HasPrefix(ev.File, tt.clients) {
					r.clientEvent(ev)
				}
			}
			r.end()
		})
	}
}

// peerOf describes the agent of a recording.
type peerOf struct {
	side   recording.Side
	addr   string
	killed bool // after its last event
}

type replay struct {
	t       *testing.T
	dialect *zeekapi.Dialect
	machine *controller.Machine
	start   time.Time
	ids     int

	// theirs maps IDs of the machine to IDs of the recording.
	theirs map[string]string

	deviations map[string]string
	killed     string // instance

	toAgents  []controller.ToAgent // not yet seen in the recording
	toClients map[string]zeekapi.Message
	answered  int
}

func newReplay(t *testing.T, d *zeekapi.Dialect) *replay {
	r := &replay{
		t: t, dialect: d,
		start:     time.Unix(0, 0),
		theirs:    make(map[string]string),
		toClients: make(map[string]zeekapi.Message),
	}
	settings := controller.DefaultSettings()
	settings.RequestTimeout = 10 * time.Second // Zeek's
	r.machine = newMachine(settings, controller.State{}, func() string {
		r.ids++
		return fmt.Sprintf("ours-%d", r.ids)
	}, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
	r.take(r.machine.Start(r.start))
	return r
}

func (r *replay) agentEvent(ev recorded.Event, p peerOf) {
	msg := r.decode(ev)
	if msg == nil {
		return
	}
	if ev.From != p.side {
		r.expectToAgent(ev, msg)
		return
	}
	peer := broker.Peer{
		ID: ev.Endpoint, Addr: netip.MustParseAddrPort(p.addr),
		Dialed: p.side == recording.Server,
	}
	r.step(ev.At, controller.FromAgent{Peer: peer, Message: r.rename(msg)})
}

func (r *replay) kill(ev recorded.Event) {
	r.killed, _ = r.dialect.Topics.AgentName(ev.Topic)
	r.step(ev.At, controller.PeerLost{Peer: broker.Peer{ID: ev.Endpoint}})
}

func (r *replay) clientEvent(ev recorded.Event) {
	msg := r.decode(ev)
	if msg == nil {
		return
	}
	if ev.From == recording.Client {
		r.step(ev.At, controller.FromClient{Message: msg})
		return
	}
	r.expectToClient(ev, msg)
}

// decode returns nil for events outside the management API.
func (r *replay) decode(ev recorded.Event) zeekapi.Message {
	msg, err := r.dialect.Decode(ev.Event)
	if err != nil {
		return nil
	}
	return msg
}

func (r *replay) step(at time.Duration, in controller.Input) {
	r.tickUntil(r.start.Add(at))
	r.take(r.machine.Step(r.start.Add(at), in))
}

func (r *replay) tickUntil(now time.Time) {
	for next, ok := r.machine.Deadline(); ok && !next.After(now); next, ok = r.machine.Deadline() {
		r.take(r.machine.Step(next, controller.Tick{}))
	}
}

func (r *replay) take(outputs []controller.Output) {
	if err := r.machine.Check(); err != nil {
		r.t.Error(err)
	}
	for _, o := range outputs {
		switch o := o.(type) {
		case controller.ToAgent:
			r.toAgents = append(r.toAgents, o)
		case controller.ToClients:
			r.toClients[o.Message.RequestID()] = o.Message
		}
	}
}

// expectToAgent checks that the machine sent the recorded message to the agent.
func (r *replay) expectToAgent(ev recorded.Event, theirs zeekapi.Message) {
	r.t.Helper()
	r.tickUntil(r.start.Add(ev.At))
	instance, _ := r.dialect.Topics.AgentName(ev.Topic)
	i := slices.IndexFunc(r.toAgents, func(o controller.ToAgent) bool {
		return o.Instance == instance && reflect.TypeOf(o.Message) == reflect.TypeOf(theirs)
	})
	if i < 0 {
		r.t.Errorf("%s at %v: Zeek's controller sent %s to %s, the machine did not", ev.File, ev.At, ev.Event.Name, instance)
		return
	}
	ours := r.toAgents[i].Message
	r.toAgents = slices.Delete(r.toAgents, i, i+1)
	r.theirs[ours.RequestID()] = theirs.RequestID()
	r.compare(ev, theirs, ours)
}

func (r *replay) expectToClient(ev recorded.Event, theirs zeekapi.Message) {
	r.t.Helper()
	// Zeek checks for expired requests at intervals.
	const imprecision = 2 * time.Second
	r.tickUntil(r.start.Add(ev.At))
	if r.toClients[theirs.RequestID()] == nil {
		r.tickUntil(r.start.Add(ev.At + imprecision))
	}
	ours, ok := r.toClients[theirs.RequestID()]
	if !ok {
		r.t.Errorf("%s at %v: Zeek's controller responded with %s, the machine did not", ev.File, ev.At, ev.Event)
		return
	}
	delete(r.toClients, theirs.RequestID())
	r.answered++
	if reason, ok := r.deviations[theirs.RequestID()]; ok {
		if reflect.DeepEqual(theirs, ours) {
			r.t.Errorf("%s: the response equals Zeek's, remove the deviation: %s", ev.File, reason)
		}
		return
	}
	r.compare(ev, theirs, ours)
}

// compare compares two messages as events. The order of results must also be
// equal.
func (r *replay) compare(ev recorded.Event, theirs, ours zeekapi.Message) {
	r.t.Helper()
	want, err := r.dialect.Encode(theirs)
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := r.dialect.Encode(ours)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, arg := range got.Args {
		got.Args[i] = replaceIDs(arg, r.theirs)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		r.t.Errorf("%s at %v: %s differs (-Zeek +ours)\n%s", ev.File, ev.At, ev.Event.Name, diff)
	}
}

// rename gives the response of an agent the ID of the machine's request.
func (r *replay) rename(msg zeekapi.Message) zeekapi.Message {
	for ours, theirs := range r.theirs {
		if theirs != msg.RequestID() || theirs == "" {
			continue
		}
		v := reflect.New(reflect.TypeOf(msg)).Elem()
		v.Set(reflect.ValueOf(msg))
		v.FieldByName("ReqID").Set(reflect.ValueOf(zeekapi.ReqID{ID: ours}))
		return v.Interface().(zeekapi.Message)
	}
	return msg
}

func (r *replay) end() {
	for _, o := range r.toAgents {
		if o.Instance == r.killed {
			continue // the recording of a killed agent lacks it
		}
		r.t.Errorf("the machine sent %#v to %s, Zeek's controller did not", o.Message, o.Instance)
	}
	for _, m := range r.toClients {
		r.t.Errorf("the machine responded %#v, Zeek's controller did not", m)
	}
	if r.answered == 0 {
		r.t.Error("the recording has no responses")
	}
	r.t.Logf("%d responses compared", r.answered)
}

func replaceIDs(v broker.Value, ids map[string]string) broker.Value {
	switch v.Kind() {
	case broker.KindString:
		s, _ := v.Text()
		if id, ok := ids[s]; ok {
			return broker.String(id)
		}
	case broker.KindVector:
		var elems []broker.Value
		for e := range v.Elements() {
			elems = append(elems, replaceIDs(e, ids))
		}
		return broker.Vector(elems...)
	}
	return v
}
