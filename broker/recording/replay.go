package recording

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// Replay plays one side of a recording to a live peer that plays the other: it
// says what its side said as soon as the peer has said what came before. It
// does no I/O and has no clock; Play is Replay on a connection.
//
// What depends on time is not waited for and not repeated, but done as it
// comes up: pings and pongs, and the peer's routing updates. What depends on
// the peer is adapted: endpoint IDs in handshake messages and envelopes, and
// the key of the WebSocket handshake. Everything else, such as the IDs of
// requests, is as recorded.
type Replay struct {
	as      Side
	entries []Entry
	pos     int

	peered bool
	ids    identities
	accept string // the answer to the peer's Sec-WebSocket-Key
}

// ErrDiverged is wrapped by the error of Receive for something that the
// recording does not have at that place.
var ErrDiverged = errors.New("peer does not follow the recording")

// NewReplay returns a Replay of the as side of entries, which are those of a
// connection of either protocol.
func NewReplay(entries []Entry, as Side) *Replay {
	return &Replay{as: as, entries: entries, ids: newIdentities(entries, as)}
}

// Done reports whether the recording is over.
func (r *Replay) Done() bool { return r.pos == len(r.entries) }

// Start returns what to say first. It must be called once, before Receive.
func (r *Replay) Start() []Entry { return r.advance(nil) }

// Step is the outcome of something that the peer said.
type Step struct {
	Send []Entry // what to say then

	// Paired says that the recording has the like of it: Live is what the peer
	// said, but with the recording's endpoint IDs, Recorded what it said then.
	Paired         bool
	Live, Recorded Entry
}

// Receive takes what the peer said. The error wraps ErrDiverged.
func (r *Replay) Receive(e Entry) (Step, error) {
	if id, ok := handshakeID(e); ok && !r.peered {
		r.ids.peerNow = id
	}
	if answer, free := r.handle(e); free {
		return Step{Send: answer}, nil
	}
	if r.Done() {
		return Step{}, fmt.Errorf("recording: %w: it goes on after the end with %s", ErrDiverged, r.describe(e))
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

// take moves on by one entry.
func (r *Replay) take() {
	e := r.entries[r.pos]
	r.pos++
	if e.Kind == KindFrame && len(e.Data) > 0 && !r.peered {
		r.peered = wire.Type(e.Data[0]) == wire.TypeOriginatorAck
	}
}

// advance appends our side's entries up to the peer's next one.
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

// free reports whether an entry of the recording is passed over.
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

// handle answers what the peer says of its own accord.
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

// The header of an envelope (Broker: envelope layout).
const (
	offsetReceiver = 16
	offsetType     = 32
)

// envelopeType returns 0 for what is no envelope.
func (r *Replay) envelopeType(e Entry) wire.Type {
	if !r.peered || len(e.Data) <= offsetType {
		return 0
	}
	return wire.Type(e.Data[offsetType])
}

// describe returns what has to be the same in the recording and in reality.
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

// identities are the endpoint IDs of both sides, in the recording and now.
type identities struct {
	self, selfNow uuid.UUID
	peer, peerNow uuid.UUID // peerNow is nil until the peer says it
}

// newIdentities chooses an ID for us. Who is the originator depends on whose
// ID is smaller, and before we say ours we need not know the peer's: so ours
// is smaller, or greater, than any that a peer will have.
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

// handshakeID returns the ID in a handshake message that has one.
func handshakeID(e Entry) (uuid.UUID, bool) {
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

// rewrite exchanges the IDs in a frame: those of the recording for those of
// now, or back.
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

// Play plays r on conn until the recording is over, closes conn, and calls
// seen, unless it is nil, for everything that the peer says and the recording
// has, with both. It fails if the peer does not follow the recording, or takes
// longer than patience to go on.
func (r *Replay) Play(ctx context.Context, conn net.Conn, patience time.Duration, seen func(live, recorded Entry)) error {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	err := r.play(conn, patience, seen)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *Replay) play(conn net.Conn, patience time.Duration, seen func(live, recorded Entry)) error {
	say := func(entries []Entry) error {
		var b []byte
		for _, e := range entries {
			b = e.AppendWire(b)
		}
		conn.SetDeadline(time.Now().Add(patience))
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
	// What the peer still says must not make our end of the connection drop
	// what we said last.
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		conn.SetReadDeadline(time.Now().Add(min(patience, time.Second)))
		for {
			if _, err := conn.Read(buf); err != nil {
				break
			}
		}
	}
	return nil
}
