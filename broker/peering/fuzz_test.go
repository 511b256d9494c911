package peering

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// streamConn is a connection with the given input. It discards output.
type streamConn struct{ *bytes.Reader }

func (streamConn) Write(b []byte) (int, error)      { return len(b), nil }
func (streamConn) Close() error                     { return nil }
func (streamConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (streamConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (streamConn) SetDeadline(time.Time) error      { return nil }
func (streamConn) SetReadDeadline(time.Time) error  { return nil }
func (streamConn) SetWriteDeadline(time.Time) error { return nil }

// WriteTo hides the method of bytes.Reader.
func (c streamConn) WriteTo(w io.Writer) (int64, error) { return 0, errors.ErrUnsupported }

// FuzzPeer sends arbitrary data after the handshake. The notifications must
// always be PeerAdded, then messages, then PeerLost.
func FuzzPeer(f *testing.F) {
	add := func(envs ...wire.Envelope) {
		var stream []byte
		for _, env := range envs {
			env.Sender, env.TTL = largeID, wire.DefaultTTL
			stream = env.AppendFrame(stream)
		}
		f.Add(stream)
	}
	event := bin.Append(nil, broker.NewEvent("e", broker.Count(1)).Value())
	add(wire.Envelope{Type: wire.TypeData, Topic: "t", Payload: event}, wire.Envelope{Type: wire.TypeCommand, Topic: "x/<$>/data/master"})
	add(wire.Envelope{Type: wire.TypeRoutingUpdate, Receiver: smallID, Topic: "<$>", Payload: []byte("\x02\x01a\x01b")})
	add(wire.Envelope{Type: wire.TypePing, Receiver: smallID, Topic: "<$>", Payload: wire.AppendBye(nil, 7)}, wire.Envelope{Type: wire.TypePong, Topic: "<$>"})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 2})

	handshake := append(frame(wire.Hello{Sender: largeID, MinVersion: 1, MaxVersion: 1}), frame(wire.ResponderSynAck{})...)
	f.Fuzz(func(t *testing.T, stream []byte) {
		e, err := New(Config{ID: smallID, Subscriptions: []string{"t"}, PingInterval: -1, MaxMessage: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		_, wasPeered, err := e.serve(e.ctx, streamConn{bytes.NewReader(append(handshake[:len(handshake):len(handshake)], stream...))}, nil)
		if !wasPeered || err == nil {
			t.Fatalf("peered %v, %v", wasPeered, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		state := "new"
		for {
			n, err := e.Next(t.Context())
			if err == broker.ErrClosed {
				break
			}
			switch n := n.(type) {
			case broker.PeerAdded:
				if state != "new" {
					t.Fatal("added twice")
				}
				state = "added"
			case broker.Received:
				if state != "added" || n.Message.Topic == "" || n.Message.Topic[0] != 't' {
					t.Fatalf("%s: received %+v", state, n)
				}
			case broker.PeerLost:
				if state != "added" || n.Err == nil {
					t.Fatalf("%s: lost with error %v", state, n.Err)
				}
				state = "lost"
			}
		}
		if state != "lost" {
			t.Fatalf("at the end: %s", state)
		}
	})
}
