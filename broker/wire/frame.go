package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits for ReadFrame, in bytes of payload.
const (
	// MaxHandshakeFrame is far above any handshake message; the largest is a
	// filter.
	MaxHandshakeFrame = 1 << 20

	// DefaultMaxFrame leaves room for Zeek's batches of 400 log records.
	DefaultMaxFrame = 64 << 20

	// MaxFrame is what Zeek accepts after the handshake
	// (CAF: length_prefix_framing).
	MaxFrame = 1<<31 - 1 - frameHeader
)

const frameHeader = 4

// ErrEmptyFrame is returned by ReadFrame for a frame without payload. During
// the handshake Broker closes the connection on one, afterwards it ignores it.
var ErrEmptyFrame = errors.New("wire: empty frame")

// FrameSizeError is returned by ReadFrame for a frame above the limit. Nothing
// of its payload has been read.
type FrameSizeError struct {
	Size  uint32
	Limit int
}

func (e *FrameSizeError) Error() string {
	return fmt.Sprintf("wire: frame of %d bytes, limit is %d", e.Size, e.Limit)
}

// AppendFrame appends the frame that carries payload: its length, then itself.
func AppendFrame(b, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(b, payload...)
}

// The payload is read in steps of at least this size.
const readStep = 64 << 10

// ReadFrame reads one frame and returns its payload, in the memory of buf where
// that is large enough. Memory grows with the bytes that arrive, not with the
// length that the peer claims.
//
// The error is io.EOF if the stream ends before the frame, io.ErrUnexpectedEOF
// if it ends within, ErrEmptyFrame or a *FrameSizeError if the length is zero
// or above limit.
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

// grow is slices.Grow without the surplus that append adds to large slices.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}
