package wire

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
)

var idA = uuid.MustParse("0aaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa") // smaller than idG and idZ

func handshake(self uuid.UUID, dialed bool, answer Admission) *Handshake {
	return NewHandshake(Config{
		Self: self, Dialed: dialed,
		Filter: func() broker.Filter { return broker.Filter{"/test"} },
		Admit:  func(uuid.UUID, bool) Admission { return answer },
	})
}

func frames(messages ...HandshakeMessage) []byte { return send(0, messages...).Send }

// situations lists the states of a handshake and the messages that lead to
// them. The peer is idZ if this endpoint is the originator, and idA if it is
// the responder.
var situations = []struct {
	name   string
	state  state
	dialed bool
	peer   uuid.UUID
	before []HandshakeMessage
}{
	{"acceptor", awaitHello, false, idZ, nil},
	{"dialer", awaitHelloOrVersionSelect, true, idZ, nil},
	{"acceptor and responder", awaitVersionSelect, false, idA, []HandshakeMessage{Hello{idA, 1, 1}}},
	{"acceptor and responder, version selected", awaitOriginatorSyn, false, idA, []HandshakeMessage{Hello{idA, 1, 1}, VersionSelect{idA, 1}}},
	{"dialer and responder", awaitOriginatorSyn, true, idA, []HandshakeMessage{VersionSelect{idA, 1}}},
	{"acceptor and originator", awaitResponderSynAck, false, idZ, []HandshakeMessage{Hello{idZ, 1, 1}}},
	{"dialer and originator", awaitResponderSynAck, true, idZ, []HandshakeMessage{Probe{}, Hello{idZ, 1, 1}}},
	{"responder", awaitOriginatorAck, true, idA, []HandshakeMessage{VersionSelect{idA, 1}, OriginatorSyn{broker.Filter{"x"}}}},
	{"peered", peered, true, idA, []HandshakeMessage{VersionSelect{idA, 1}, OriginatorSyn{broker.Filter{"x"}}, OriginatorAck{}}},
}

// TestStateTable receives every message in every state. A message that the
// table does not list for a state must end the handshake without a response.
func TestStateTable(t *testing.T) {
	messages := func(peer uuid.UUID) []HandshakeMessage {
		return []HandshakeMessage{
			Probe{}, Hello{peer, 1, 1}, VersionSelect{peer, 1}, OriginatorSyn{broker.Filter{"x"}},
			ResponderSynAck{broker.Filter{"y"}}, OriginatorAck{}, DropConn{peer, CodeShuttingDown, "shutting down"},
		}
	}
	type input struct {
		state state
		typ   Type
	}
	type output struct {
		step Step
		next state
	}
	originate := output{Step{Send: frames(VersionSelect{idG, 1}, OriginatorSyn{broker.Filter{"/test"}})}, awaitResponderSynAck}
	table := map[input]output{
		{awaitHello, TypeProbe}:                        {Step{}, awaitHello},
		{awaitHello, TypeHello}:                        originate,
		{awaitHelloOrVersionSelect, TypeProbe}:         {Step{}, awaitHelloOrVersionSelect},
		{awaitHelloOrVersionSelect, TypeHello}:         originate,
		{awaitHelloOrVersionSelect, TypeVersionSelect}: {Step{}, awaitOriginatorSyn},
		{awaitVersionSelect, TypeProbe}:                {Step{}, awaitVersionSelect},
		{awaitVersionSelect, TypeVersionSelect}:        {Step{}, awaitOriginatorSyn},
		{awaitOriginatorSyn, TypeOriginatorSyn}:        {Step{Send: frames(ResponderSynAck{broker.Filter{"/test"}})}, awaitOriginatorAck},
		{awaitResponderSynAck, TypeResponderSynAck}:    {Step{Send: frames(OriginatorAck{}), Outcome: Peered}, peered},
		{awaitOriginatorAck, TypeOriginatorAck}:        {Step{Outcome: Peered}, peered},
	}
	for _, sit := range situations {
		for _, m := range messages(sit.peer) {
			t.Run(fmt.Sprintf("%s/%s", sit.name, m.Type()), func(t *testing.T) {
				h := handshake(idG, sit.dialed, Admit)
				h.Start()
				for _, b := range sit.before {
					if step := h.Receive(b.Append(nil)); step.Outcome == Failed {
						t.Fatal(step.Err)
					}
				}
				if h.state != sit.state {
					t.Fatalf("waits for %s, want %s", h.state, sit.state)
				}
				got := h.Receive(m.Append(nil))
				want, ok := table[input{sit.state, m.Type()}]
				switch {
				case ok:
				case m.Type() == TypeDropConn:
					want = output{Step{Outcome: Failed, Err: &DropError{m.(DropConn)}}, failed}
				default:
					want = output{Step{Outcome: Failed, Err: &UnexpectedError{m.Type(), sit.state.String()}}, failed}
				}
				if diff := cmp.Diff(want.step, got); diff != "" {
					t.Errorf("step (-want +got):\n%s", diff)
				}
				if h.state != want.next {
					t.Errorf("then waits for %s, want %s", h.state, want.next)
				}
			})
		}
	}
}

func TestResponderAnswersHello(t *testing.T) {
	for _, dialed := range []bool{false, true} {
		h := handshake(idG, dialed, Admit)
		h.Start()
		got := h.Receive(Hello{idA, 1, 1}.Append(nil))
		if diff := cmp.Diff(Step{Send: frames(Hello{idG, 1, 1})}, got); diff != "" {
			t.Errorf("dialed %v (-want +got):\n%s", dialed, diff)
		}
	}
}

func TestAdmission(t *testing.T) {
	tests := []struct {
		answer     Admission
		originator bool
		want       DropConn
	}{
		{Redundant, true, DropConn{idG, CodeRedundantConnection, "redundant connection"}},
		{Redundant, false, DropConn{idG, CodeLogicError, "detected redundant connection at the responder"}},
		{ShuttingDown, true, DropConn{idG, CodeShuttingDown, "shutting down"}},
		{ShuttingDown, false, DropConn{idG, CodeShuttingDown, "shutting down"}},
		{Full, true, DropConn{idG, CodeUnspecified, "too many peers"}},
		{Full, false, DropConn{idG, CodeUnspecified, "too many peers"}},
	}
	for _, test := range tests {
		peer, messages := idZ, []HandshakeMessage{Hello{idZ, 1, 1}}
		if !test.originator {
			peer, messages = idA, []HandshakeMessage{Hello{idA, 1, 1}, VersionSelect{idA, 1}}
		}
		h := handshake(idG, false, test.answer)
		h.Start()
		var got Step
		for _, m := range messages {
			got = h.Receive(m.Append(nil))
		}
		want := Step{Send: frames(test.want), Outcome: Failed, Err: &RefusedError{peer, test.answer, test.want.Description}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d, originator %v (-want +got):\n%s", test.answer, test.originator, diff)
		}
	}
}

func TestHold(t *testing.T) {
	for answer, want := range map[Admission]Step{
		Admit:     {Send: frames(VersionSelect{idG, 1}, OriginatorSyn{broker.Filter{"/test"}})},
		Redundant: {Send: frames(DropConn{idG, CodeRedundantConnection, "redundant connection"}), Outcome: Failed, Err: &RefusedError{idZ, Redundant, "redundant connection"}},
	} {
		h := handshake(idG, true, Hold)
		h.Start()
		if got := h.Receive(Hello{idZ, 1, 1}.Append(nil)); got.Outcome != Held || got.Send != nil {
			t.Fatalf("got %+v", got)
		}
		if diff := cmp.Diff(want, h.Resume(answer)); diff != "" {
			t.Errorf("%d (-want +got):\n%s", answer, diff)
		}
		if got := h.Resume(Admit); got.Outcome != Failed {
			t.Errorf("resumed twice: %+v", got)
		}
	}
}

func TestInvalidIDs(t *testing.T) {
	tests := []struct {
		name     string
		dialed   bool
		messages []HandshakeMessage
		want     DropConn
		err      error
	}{
		{"own ID in HELLO", false, []HandshakeMessage{Hello{idG, 1, 1}}, DropConn{idG, CodePeerInvalid, "both endpoints have the same ID"}, ErrSameID},
		{"own ID in VERSION_SELECT", true, []HandshakeMessage{VersionSelect{idG, 1}}, DropConn{idG, CodePeerInvalid, "both endpoints have the same ID"}, ErrSameID},
		{"nil ID", false, []HandshakeMessage{Hello{uuid.Nil, 1, 1}}, DropConn{idG, CodePeerInvalid, "endpoint ID is nil"}, nil},
		{"ID changes", false, []HandshakeMessage{Hello{idA, 1, 1}, VersionSelect{idZ, 1}}, DropConn{idG, CodePeerInvalid, "endpoint ID changed"}, nil},
	}
	for _, test := range tests {
		h := handshake(idG, test.dialed, Admit)
		h.Start()
		var got Step
		for _, m := range test.messages {
			got = h.Receive(m.Append(nil))
		}
		if got.Outcome != Failed || !bytes.Equal(got.Send, frames(test.want)) || test.err != nil && !errors.Is(got.Err, test.err) {
			t.Errorf("%s: got %+v", test.name, got)
		}
	}
}

func TestMalformedMessageIsAnswered(t *testing.T) {
	for _, sit := range situations {
		h := handshake(idG, sit.dialed, Admit)
		h.Start()
		for _, b := range sit.before {
			h.Receive(b.Append(nil))
		}
		got := h.Receive([]byte{byte(TypeProbe), 'Z', 'E', 'E', 'L'})
		want := frames(DropConn{idG, CodeWrongMagicNumber, "wrong magic number"})
		if got.Outcome != Failed || !bytes.Equal(got.Send, want) {
			t.Errorf("%s: got %+v", sit.name, got)
		}
	}
}

// TestHandshakesWithEachOther connects two Handshakes, in both orders of their IDs.
func TestHandshakesWithEachOther(t *testing.T) {
	for _, ids := range [][2]uuid.UUID{{idA, idZ}, {idZ, idA}} {
		dialer, acceptor := handshake(ids[0], true, Admit), handshake(ids[1], false, Admit)
		toAcceptor, toDialer := dialer.Start().Send, acceptor.Start().Send
		done := map[*Handshake]bool{}
		feed := func(h *Handshake, stream []byte) (answer []byte) {
			for r := bytes.NewReader(stream); r.Len() > 0; {
				frame, err := ReadFrame(r, MaxHandshakeFrame, nil)
				if err != nil {
					t.Fatal(err)
				}
				step := h.Receive(frame)
				if step.Err != nil {
					t.Fatal(step.Err)
				}
				done[h] = step.Outcome == Peered
				answer = append(answer, step.Send...)
			}
			return answer
		}
		for len(toAcceptor)+len(toDialer) > 0 {
			toDialer = append(toDialer, feed(acceptor, toAcceptor)...)
			toAcceptor, toDialer = feed(dialer, toDialer), nil
		}
		if !done[dialer] || !done[acceptor] {
			t.Fatal("the handshakes are not both complete")
		}
		if dialer.Peer() != ids[1] || acceptor.Peer() != ids[0] || dialer.Originator() == acceptor.Originator() {
			t.Error("the endpoints have wrong peer IDs or roles")
		}
		if !dialer.Filter().Equal(broker.Filter{"/test"}) || !acceptor.Filter().Equal(broker.Filter{"/test"}) {
			t.Error("wrong filters")
		}
	}
}

// TestRecordedHandshakes replays the received messages of each side of every
// recorded Zeek handshake, and compares the messages sent. All other frames
// must be unchanged by decoding and encoding.
func TestRecordedHandshakes(t *testing.T) {
	files, err := filepath.Glob("../../testdata/recordings/*/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	complete := 0
	for _, file := range files {
		recording := brokertest.Frames(t, file)
		if recording == nil {
			continue
		}
		for _, asClient := range []bool{true, false} {
			if playRecording(t, file, recording, asClient) {
				complete++
			}
		}
	}
	if complete < 2*20 {
		t.Errorf("only %d complete handshakes", complete)
	}
}

func playRecording(t *testing.T, file string, recording []brokertest.Frame, asClient bool) bool {
	var self uuid.UUID
	var filter broker.Filter
	var want, incoming [][]byte
	acked := false
	for _, f := range recording {
		if acked {
			e, err := DecodeEnvelope(f.Payload)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if got := e.Append(nil); !bytes.Equal(got, f.Payload) {
				t.Errorf("%s: envelope\n%x becomes\n%x", file, f.Payload, got)
			}
			continue
		}
		m, err := DecodeHandshake(f.Payload)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		acked = m.Type() == TypeOriginatorAck
		if got := m.Append(nil); !bytes.Equal(got, f.Payload) {
			t.Errorf("%s: %s\n%x becomes\n%x", file, m.Type(), f.Payload, got)
		}
		if f.FromClient != asClient {
			incoming = append(incoming, f.Payload)
			continue
		}
		want = append(want, f.Payload)
		switch m := m.(type) {
		case Hello:
			self = m.Sender
		case VersionSelect:
			self = m.Sender
		case OriginatorSyn:
			filter = m.Filter
		case ResponderSynAck:
			filter = m.Filter
		}
	}
	if len(want) == 0 {
		return false
	}
	h := NewHandshake(Config{
		Self: self, Dialed: asClient,
		Filter: func() broker.Filter { return filter },
		Admit:  func(uuid.UUID, bool) Admission { return Admit },
	})
	sent, last := h.Start().Send, Continue
	for _, frame := range incoming {
		step := h.Receive(frame)
		if step.Err != nil {
			t.Errorf("%s: %v", file, step.Err)
			return false
		}
		sent, last = append(sent, step.Send...), step.Outcome
	}
	var wantBytes []byte
	for _, payload := range want {
		wantBytes = AppendFrame(wantBytes, payload)
	}
	if !bytes.Equal(sent, wantBytes) {
		t.Errorf("%s, client %v: sent\n%x, Zeek sent\n%x", file, asClient, sent, wantBytes)
	}
	return last == Peered
}

func FuzzHandshake(f *testing.F) {
	for _, sit := range situations {
		var stream []byte
		for _, m := range sit.before {
			stream = AppendFrame(stream, m.Append(nil))
		}
		f.Add(stream, sit.dialed, uint8(Admit), uint8(Admit))
	}
	f.Add(frames(Probe{}, Hello{idZ, 1, 1}, ResponderSynAck{}), true, uint8(Hold), uint8(Admit))
	f.Fuzz(func(t *testing.T, stream []byte, dialed bool, answer, later uint8) {
		h := handshake(idG, dialed, Admission(answer%5))
		h.Start()
		for r := bytes.NewReader(stream); ; {
			frame, err := ReadFrame(r, MaxHandshakeFrame, nil)
			if err != nil {
				return
			}
			step := h.Receive(frame)
			if step.Outcome == Held {
				if later%5 == uint8(Hold) {
					return
				}
				step = h.Resume(Admission(later % 5))
			}
			if (step.Outcome == Failed) != (step.Err != nil) || step.Outcome == Failed && h.state != failed {
				t.Fatalf("inconsistent: %+v in state %s", step, h.state)
			}
			for s := bytes.NewReader(step.Send); s.Len() > 0; {
				sent, err := ReadFrame(s, MaxHandshakeFrame, nil)
				if err != nil {
					t.Fatalf("sent malformed data %x: %v", step.Send, err)
				}
				if _, err := DecodeHandshake(sent); err != nil {
					t.Fatalf("sent malformed data %x: %v", sent, err)
				}
			}
			if step.Outcome == Peered && (h.Peer() == uuid.Nil || h.Peer() == idG) {
				t.Fatalf("peered with the invalid ID %s", h.Peer())
			}
			if step.Outcome >= Peered {
				return
			}
		}
	})
}
