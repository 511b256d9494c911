package peering

import (
	"bytes"
	"net"
	"net/netip"
	"sync"

	"github.com/zeekwire/zeekwire/broker/wire"
)

// FrameTracer receives every frame of one connection, including those of the
// handshake, without the length field. Frames of one direction come in order.
// Calls never overlap. Frame must not keep the slice. Close is called last.
type FrameTracer interface {
	Frame(sent bool, frame []byte)
	Close()
}

// ConnInfo describes a connection to trace.
type ConnInfo struct {
	Local, Remote netip.AddrPort
	Dialed        bool // this end opened the connection
}

// trace serialises the calls of a connection's reader and writer to its tracer.
type trace struct {
	mu     sync.Mutex
	tracer FrameTracer // may be nil
}

func (t *trace) frame(sent bool, frame []byte) {
	if t.tracer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tracer.Frame(sent, frame)
}

// sent traces a byte stream of whole frames with their length fields.
func (t *trace) sent(stream []byte) {
	if t.tracer == nil {
		return
	}
	for r := bytes.NewReader(stream); r.Len() > 0; {
		if payload, err := wire.ReadFrame(r, len(stream), nil); err == nil {
			t.frame(true, payload)
		}
	}
}

func (t *trace) close() {
	if t.tracer != nil {
		t.tracer.Close()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
