package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits for the payload of a frame, in bytes.
const (
	// MaxHandshakeFrame is far above the size of any handshake message. The
	// largest messages contain a filter. It is also the limit for later filters,
	// which take memory as long as the connection exists.
	MaxHandshakeFrame = 64 << 10

	// DefaultMaxFrame is sufficient for Zeek's batches of 400 log records.
	DefaultMaxFrame = 64 << 20

	// MaxFrame is the limit of Zeek after the handshake (CAF:
	// length_prefix_framing).
	MaxFrame = 1<<31 - 1 - frameHeader
)

const frameHeader = 4

// ErrEmptyFrame is returned by ReadFrame for a frame without payload. During
// the handshake Broker closes the connection on such a frame; afterwards it
// ignores it.
var ErrEmptyFrame = errors.New("wire: empty frame")

// FrameSizeError is returned by ReadFrame for a frame above the limit. None of
// its payload has been read.
type FrameSizeError struct {
	Size  uint32
	Limit int
}

func (e *FrameSizeError) Error() string {
	return fmt.Sprintf("wire: frame of %d bytes, limit is %d", e.Size, e.Limit)
}

// AppendFrame appends the frame that contains payload, including its length,
// to b and returns the result.
func AppendFrame(b, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// readStep is the minimum size of the steps in which a payload is read.
const readStep = 64 << 10

// ReadFrame reads one frame and returns its payload, in buf if that is large
// enough. Memory grows with the bytes that arrive, not with the length that
// the peer announces.
//
// The error is io.EOF if the stream ends before the frame and
// io.ErrUnexpectedEOF if it ends inside it. It is ErrEmptyFrame if the length
// is zero and a *FrameSizeError if it is above limit.
func ReadFrame(r io.Reader, limit int, buf []byte) ([]byte, error) {
	if cap(buf) < frameHeader {
		buf = make([]byte, 0, 512)
	}
	if _, err := io.ReadFull(r, buf[:frameHeader]); err != nil {
		return buf[:0], err
	}
	size := binary.BigEndian.Uint32(buf[:frameHeader])
	if size == 0 {
		return buf[:0], ErrEmptyFrame
	}
	if uint64(size) > uint64(limit) {
		return buf[:0], &FrameSizeError{Size: size, Limit: limit}
	}
	buf = buf[:0]
	for want := int(size); len(buf) < want; {
		n := min(want-len(buf), max(readStep, len(buf)))
		start := len(buf)
		buf = grow(buf, n)[:start+n]
		if _, err := io.ReadFull(r, buf[start:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf[:0], err
		}
	}
	return buf, nil
}

// grow is like slices.Grow, but without the spare capacity that append adds to
// large slices.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}
