package recording

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// Replay plays one side of a recording to a live peer that acts as the other
// side. It sends the entries of its side as soon as the peer has sent the
// preceding ones. Replay does no I/O and has no clock; Play runs it on a
// connection.
//
// Traffic that depends on time is not compared with the recording: a Replay
// responds to pings and ignores pongs and routing updates. Content that
// depends on the peer is adapted: endpoint IDs in handshake messages and
// envelopes, and the key of the WebSocket handshake. Everything else, such as
// request IDs, is sent as recorded.
//
// A Replay must not be used concurrently.
type Replay struct {
	as      Side
	entries []Entry
	pos     int

	peered bool
	ids    identities
	accept string // response to the peer's Sec-WebSocket-Key
}

// ErrDiverged is wrapped by the error of Receive for an entry that differs
// from the recording.
var ErrDiverged = errors.New("peer does not follow the recording")

// NewReplay returns a Replay of the side as of the connection that entries
// record. Both protocols are supported.
func NewReplay(entries []Entry, as Side) *Replay {
	return &Replay{as: as, entries: entries, ids: newIdentities(entries, as)}
}

// Done reports whether all entries have been sent or received.
func (r *Replay) Done() bool { return r.pos == len(r.entries) }

// Start returns the first entries to send. It must be called once, before
// Receive.
func (r *Replay) Start() []Entry { return r.advance(nil) }

// Step is the result of Receive.
type Step struct {
	Send []Entry // entries to send

	// Paired reports whether the recording contains a counterpart of the
	// received entry. If so, Live is the received entry with the endpoint IDs
	// of the recording, and Recorded is the counterpart.
	Paired         bool
	Live, Recorded Entry
}

// Receive processes an entry that the peer sent. Errors wrap ErrDiverged.
func (r *Replay) Receive(e Entry) (Step, error) {
	if id, ok := handshakeID(e); ok && !r.peered {
		r.ids.peerNow = id
	}
	if answer, free := r.handle(e); free {
		return Step{Send: answer}, nil
	}
	if r.Done() {
		return Step{}, fmt.Errorf("recording: %w: got %s after the end of the recording", ErrDiverged, r.describe(e))
	}
	step := Step{Paired: true, Live: r.ids.rewrite(e, r.peered, true), Recorded: r.entries[r.pos]}
	if got, want := r.describe(e), r.describe(step.Recorded); got != want {
		return step, fmt.Errorf("recording: %w: got %s, want %s", ErrDiverged, got, want)
	}
	if e.Kind == KindHTTP && r.as == Server {
		r.accept = acceptKey(headField(string(e.Data), "Sec-WebSocket-Key"))
	}
	r.take()
	step.Send = r.advance(nil)
	return step, nil
}

// take advances by one entry.
func (r *Replay) take() {
	e := r.entries[r.pos]
	r.pos++
	if e.Kind == KindFrame && len(e.Data) > 0 && !r.peered {
		r.peered = wire.Type(e.Data[0]) == wire.TypeOriginatorAck
	}
}

// advance appends the entries of the replayed side up to the peer's next one.
func (r *Replay) advance(send []Entry) []Entry {
	for !r.Done() {
		e := r.entries[r.pos]
		switch {
		case r.free(e):
		case e.From == r.as:
			send = append(send, r.adapt(e))
		default:
			return send
		}
		r.take()
	}
	return send
}

func (r *Replay) adapt(e Entry) Entry {
	if e.Kind == KindHTTP && r.accept != "" {
		if recorded := headField(string(e.Data), "Sec-WebSocket-Accept"); recorded != "" {
			e.Data = []byte(strings.Replace(string(e.Data), recorded, r.accept, 1))
		}
		return e
	}
	return r.ids.rewrite(e, r.peered, false)
}

// free reports whether an entry of the recording is skipped.
func (r *Replay) free(e Entry) bool {
	switch e.Kind {
	case KindPing, KindPong:
		return true
	case KindFrame:
		switch t := r.envelopeType(e); t {
		case wire.TypePong:
			return true
		case wire.TypePing, wire.TypeRoutingUpdate:
			return e.From != r.as
		}
		return len(e.Data) == 0
	}
	return false
}

// handle processes entries that the peer may send at any time. The result free
// is false for all others.
func (r *Replay) handle(e Entry) (answer []Entry, free bool) {
	switch e.Kind {
	case KindPing:
		return []Entry{{From: r.as, Kind: KindPong, Data: e.Data}}, true
	case KindPong:
		return nil, true
	case KindFrame:
		switch r.envelopeType(e) {
		case wire.TypePing:
			env, err := wire.DecodeEnvelope(e.Data)
			if err != nil {
				return nil, false
			}
			pong := env.Pong(env.Receiver)
			return []Entry{{From: r.as, Kind: KindFrame, Data: pong.Append(nil)}}, true
		case wire.TypePong, wire.TypeRoutingUpdate:
			return nil, true
		}
		return nil, len(e.Data) == 0
	}
	return nil, false
}

// The layout of an envelope's header (Broker: envelope).
const (
	offsetReceiver = 16
	offsetType     = 32
)

// envelopeType returns the type of an envelope, and 0 for other entries.
func (r *Replay) envelopeType(e Entry) wire.Type {
	if !r.peered || len(e.Data) <= offsetType {
		return 0
	}
	return wire.Type(e.Data[offsetType])
}

// describe returns the properties of an entry that must be the same live and
// in the recording.
func (r *Replay) describe(e Entry) string {
	switch {
	case e.Kind == KindHTTP && e.From == Server:
		return "http response " + headStatus(string(e.Data))
	case e.Kind == KindFrame && len(e.Data) > 0 && !r.peered:
		return wire.Type(e.Data[0]).String()
	case e.Kind == KindFrame && r.envelopeType(e) != 0:
		return r.envelopeType(e).String()
	}
	return string(e.Kind)
}

// acceptKey computes Sec-WebSocket-Accept (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// identities holds the recorded and the live endpoint IDs of both sides.
type identities struct {
	self, selfNow uuid.UUID
	peer, peerNow uuid.UUID // peerNow is nil until the peer sends its ID
}

// newIdentities chooses the live ID of the replayed side. The smaller ID
// belongs to the originator, and the replay may have to send its ID before it
// knows the peer's. So the ID is chosen at one end of the range, smaller or
// greater than any live peer's, as in the recording.
func newIdentities(entries []Entry, as Side) identities {
	var ids identities
	for _, e := range entries {
		id, ok := handshakeID(e)
		switch {
		case !ok:
		case e.From == as:
			ids.self = id
		default:
			ids.peer = id
		}
		if ids.self != uuid.Nil && ids.peer != uuid.Nil {
			break
		}
	}
	ids.selfNow = uuid.New()
	extreme := [4]byte{}
	if bytes.Compare(ids.self[:], ids.peer[:]) > 0 {
		extreme = [4]byte{0xFF, 0xFF, 0xFF, 0xFF}
	}
	copy(ids.selfNow[:], extreme[:])
	return ids
}

// handshakeID returns the ID in a handshake message. The result ok is false if
// the message has none.
func handshakeID(e Entry) (id uuid.UUID, ok bool) {
	const offset = 5 // tag, magic
	if e.Kind != KindFrame || len(e.Data) < offset+16 {
		return uuid.Nil, false
	}
	switch wire.Type(e.Data[0]) {
	case wire.TypeHello, wire.TypeVersionSelect, wire.TypeDropConn:
		return uuid.UUID(e.Data[offset : offset+16]), string(e.Data[1:offset]) == "ZEEK"
	}
	return uuid.Nil, false
}

// rewrite replaces the recorded IDs in a frame by the live ones, or the
// reverse if back is true.
func (ids *identities) rewrite(e Entry, peered, back bool) Entry {
	if e.Kind != KindFrame {
		return e
	}
	var at []int
	if _, ok := handshakeID(e); ok && !peered {
		at = []int{5}
	} else if peered && len(e.Data) > offsetType {
		at = []int{0, offsetReceiver}
	}
	if at != nil {
		e.Data = slices.Clone(e.Data)
	}
	for _, i := range at {
		id := e.Data[i : i+16]
		for _, pair := range [][2]uuid.UUID{{ids.self, ids.selfNow}, {ids.peer, ids.peerNow}} {
			from, to := pair[0], pair[1]
			if back {
				from, to = to, from
			}
			if bytes.Equal(id, from[:]) && to != uuid.Nil && from != uuid.Nil {
				copy(id, to[:])
				break
			}
		}
	}
	return e
}

// tcpAddress returns the address of one end of a TCP connection, and an invalid one
// for other connections.
func tcpAddress(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := tcp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// Play replays r on conn until the end of the recording, and closes conn. If
// seen is non-nil, Play calls it for each entry that the peer sends and that
// has a counterpart in the recording. Play fails if the peer diverges from the
// recording, if ctx ends, or if the peer sends nothing expected for the
// duration timeout.
func (r *Replay) Play(ctx context.Context, conn net.Conn, timeout time.Duration, seen func(live, recorded Entry)) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err := r.play(conn, timeout, seen)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *Replay) play(conn net.Conn, timeout time.Duration, seen func(live, recorded Entry)) error {
	say := func(entries []Entry) error {
		var b []byte
		for _, e := range entries {
			b = e.AppendWire(b)
		}
		conn.SetDeadline(time.Now().Add(timeout))
		if len(b) == 0 {
			return nil
		}
		if _, err := conn.Write(b); err != nil {
			return fmt.Errorf("recording: %w", err)
		}
		return nil
	}
	if err := say(r.Start()); err != nil {
		return err
	}
	splitter := NewSplitter()
	client, server := tcpAddress(conn.LocalAddr()), tcpAddress(conn.RemoteAddr())
	if r.as == Server {
		client, server = server, client
	}
	splitter.SetAddresses(client, server)
	buf := make([]byte, 32<<10)
	for !r.Done() {
		n, readErr := conn.Read(buf)
		entries, err := splitter.Write(r.as.Other(), buf[:n])
		for _, e := range entries {
			step, err := r.Receive(e)
			if step.Paired && seen != nil {
				seen(step.Live, step.Recorded)
			}
			if err == nil && (step.Paired || len(step.Send) > 0) {
				err = say(step.Send)
			}
			if err != nil {
				return err
			}
		}
		switch {
		case err != nil:
			return err
		case readErr != nil && !r.Done():
			return fmt.Errorf("recording: waiting for %s: %w", r.describe(r.entries[r.pos]), readErr)
		}
	}
	// Read until the peer closes its end. Closing with unread data would reset
	// the connection and discard the last data sent.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(min(timeout, time.Second)))
		for {
			if _, err := conn.Read(buf); err != nil {
				break
			}
		}
	}
	return nil
}
