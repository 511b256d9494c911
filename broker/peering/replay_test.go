package peering

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/internal/brokertest"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// TestReplay replaces each side of every recording by an endpoint, and sends it
// the frames of the other side, a real Zeek. The endpoint must perform the same
// handshake, deliver all messages that it subscribed to, and answer each ping.
func TestReplay(t *testing.T) {
	files, err := filepath.Glob("../../testdata/recordings/*/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for _, file := range files {
		recording := brokertest.Frames(t, file)
		if len(recording) < 7 {
			continue
		}
		for side, asClient := range map[string]bool{"client": true, "server": false} {
			t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file)+"/"+side, func(t *testing.T) {
				replay(t, recording, asClient)
			})
			replayed++
		}
	}
	if replayed < 40 {
		t.Errorf("%d replays", replayed)
	}
}

func replay(t *testing.T, recording []brokertest.Frame, asClient bool) {
	var self, peer uuid.UUID
	var filter broker.Filter
	var in []byte                  // frames of the other side
	var handshake [][]byte         // expected frames of our side during the handshake
	var pongs [][]byte             // expected pongs
	var want []broker.Notification // expected notifications
	acked, left := false, false
	current := broker.NewFilter()
	for _, f := range recording {
		ours := f.FromClient == asClient
		if !acked {
			m, err := wire.DecodeHandshake(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case wire.Hello:
				*map[bool]*uuid.UUID{true: &self, false: &peer}[ours] = m.Sender
			case wire.VersionSelect:
				*map[bool]*uuid.UUID{true: &self, false: &peer}[ours] = m.Sender
			case wire.OriginatorSyn:
				if ours {
					filter = m.Filter
				}
			case wire.ResponderSynAck:
				if ours {
					filter = m.Filter
				}
			case wire.OriginatorAck:
				acked = true
				current = broker.NewFilter(filter...)
			}
			if ours {
				handshake = append(handshake, f.Payload)
				continue
			}
			in = wire.AppendFrame(in, f.Payload)
			continue
		}
		if ours {
			continue
		}
		in = wire.AppendFrame(in, f.Payload)
		env, err := wire.DecodeEnvelope(f.Payload)
		if err != nil {
			t.Fatal(err)
		}
		switch env.Type {
		case wire.TypePing:
			pong := env.Pong(self)
			pongs = append(pongs, pong.Append(nil))
			left = left || env.IsBye()
		case wire.TypeData:
			if v, err := bin.Decode(env.Payload); err == nil && current.Matches(env.Topic) {
				want = append(want, broker.Received{Message: broker.Message{Topic: env.Topic, Value: v}})
			}
		}
	}

	tracer := &frameLog{done: make(chan struct{})}
	e := newEndpoint(t, Config{
		ID: self, Subscriptions: filter, PingInterval: -1,
		Trace: func(ConnInfo) FrameTracer { return tracer },
	})
	ours, theirs := tcpPair(t)
	var to *target
	if asClient {
		to = &target{e: e, address: "x:1", quit: make(chan struct{})}
	}
	var served sync.WaitGroup
	served.Go(func() { e.serve(e.ctx, ours, to) })
	p := newRawPeer(t, peer, theirs)
	p.write(in)
	for i, want := range handshake {
		if got := p.frame(); !bytes.Equal(got, want) {
			t.Fatalf("frame %d is\n%x, Zeek sent\n%x", i, got, want)
		}
	}
	for _, want := range pongs {
		if got := p.frame(); !bytes.Equal(got, want) {
			t.Fatalf("answered\n%x, want\n%x", got, want)
		}
	}
	theirs.Close()
	if added := next[broker.PeerAdded](t, e); added.Peer.ID != peer {
		t.Errorf("added peer %+v", added)
	}
	for _, want := range want {
		got := next[broker.Received](t, e)
		if diff := cmp.Diff(want.(broker.Received).Message, got.Message, equalValues); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	}
	if lost := next[broker.PeerLost](t, e); left != errors.Is(lost.Err, ErrPeerBye) {
		t.Errorf("lost with error %v, BYE received: %v", lost.Err, left)
	}
	served.Wait()
	<-tracer.done
	if got := bytes.Join(tracer.received, nil); !bytes.Equal(got, in) {
		t.Errorf("traced %d bytes, want %d", len(got), len(in))
	}
	if got := len(tracer.sent); got != len(handshake)+len(pongs) {
		t.Errorf("traced %d frames as sent, want %d", got, len(handshake)+len(pongs))
	}
}

// frameLog is a FrameTracer that records frames with their length.
type frameLog struct {
	sent, received [][]byte
	done           chan struct{}
}

func (l *frameLog) Frame(sent bool, frame []byte) {
	to := &l.received
	if sent {
		to = &l.sent
	}
	*to = append(*to, wire.AppendFrame(nil, frame))
}

func (l *frameLog) Close() { close(l.done) }
