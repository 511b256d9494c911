package broker

import (
	"fmt"
	"net/netip"
	"strings"
)

// FrameError reports a broken frame: one that breaks its protocol, or whose
// content cannot be decoded. It is the error for a frame of a live connection, of a
// recording and of a capture. Its text is one line.
type FrameError struct {
	// Client and Server are the addresses of the connection. Client is the end that
	// opened it. Both are invalid if they are unknown, as in old recordings.
	Client, Server netip.AddrPort

	// FromClient reports whether the client sent the frame.
	FromClient bool

	// Offset is the position of the frame's first byte in the stream of its sender:
	// within TLS, and in a WebSocket connection after the HTTP handshake.
	Offset int64

	// First holds the first bytes of the frame, at most FrameExcerpt.
	First []byte

	// Err is the reason.
	Err error
}

// FrameExcerpt is the maximum length of FrameError.First in bytes. It includes the
// headers of a native frame and of the envelope in it.
const FrameExcerpt = 48

// NewFrameError returns the error for a broken frame that begins with the bytes of
// frame, of which it copies the first.
func NewFrameError(client, server netip.AddrPort, fromClient bool, offset int64, frame []byte, err error) *FrameError {
	return &FrameError{
		Client: client, Server: server, FromClient: fromClient, Offset: offset,
		First: append([]byte(nil), frame[:min(len(frame), FrameExcerpt)]...), Err: err,
	}
}

// Unwrap returns e.Err.
func (e *FrameError) Unwrap() error { return e.Err }

// Error describes the frame in one line.
func (e *FrameError) Error() string {
	from, to := frameEnd("client", e.Client), frameEnd("server", e.Server)
	if !e.FromClient {
		from, to = to, from
	}
	text := fmt.Sprintf("broken frame from %s to %s at offset %d", from, to, e.Offset)
	if len(e.First) > 0 {
		text += fmt.Sprintf(", first bytes %x", e.First)
	}
	reason := e.Err.Error()
	return text + ": " + strings.ReplaceAll(reason, "\n", " ")
}

func frameEnd(name string, a netip.AddrPort) string {
	if !a.IsValid() {
		return name
	}
	return name + " " + a.String()
}
