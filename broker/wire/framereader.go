package wire

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/zeekwire/zeekwire/broker/internal/idlebuf"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
)

// Meter limits the memory and the time that incomplete frames of a FrameReader
// take. An error of Take ends the reading.
type Meter interface {
	Begin(arrived int) // a frame has begun, and is not complete
	Arrived(n int)     // n further bytes of it have arrived
	Take(n int) error  // n bytes of memory are needed for it
	Give(n int)        // n bytes of its memory are no longer needed
	Complete()         // it is complete
}

// FrameReader reads frames from a stream and knows their positions in it. Memory
// grows with the bytes that arrive, not with the length that the peer announces. A
// FrameReader must not be used concurrently.
type FrameReader struct {
	in    *idlebuf.Reader
	meter Meter

	next  int64  // offset of the next frame
	start int64  // offset of the last frame
	frame []byte // the last frame with its length; only its beginning after an error
}

// NewFrameReader returns a FrameReader with a buffer of at most size bytes. Frames that
// fit in it need no further memory. The meter may be nil.
func NewFrameReader(r io.Reader, size int, meter Meter) *FrameReader {
	if meter == nil {
		meter = noMeter{}
	}
	return &FrameReader{in: idlebuf.NewReader(r, size), meter: meter}
}

type noMeter struct{}

func (noMeter) Begin(int)      {}
func (noMeter) Arrived(int)    {}
func (noMeter) Take(int) error { return nil }
func (noMeter) Give(int)       {}
func (noMeter) Complete()      {}

// Buffered reports whether the next frame can be read without waiting.
func (r *FrameReader) Buffered() bool {
	if r.in.Buffered() < frameHeader {
		return false
	}
	header, err := r.in.Peek(frameHeader)
	return err == nil && uint64(binary.BigEndian.Uint32(header)) <= uint64(r.in.Buffered()-frameHeader)
}

// Position returns the offset of the last frame in the stream, and its first bytes,
// including its length. They are valid until Next is called.
func (r *FrameReader) Position() (offset int64, first []byte) { return r.start, r.frame }

// Next reads a frame and returns its payload, which is valid until the next call. Its
// errors are those of ReadFrame, and those of the meter.
func (r *FrameReader) Next(limit int) ([]byte, error) {
	r.start, r.frame = r.next, nil
	if _, err := r.in.Peek(1); err != nil {
		return nil, err
	}
	if !r.Buffered() {
		r.meter.Begin(r.in.Buffered())
		defer r.meter.Complete()
	}
	header, err := r.in.Peek(frameHeader)
	if err != nil {
		return nil, within(err)
	}
	size := binary.BigEndian.Uint32(header)
	if size == 0 {
		r.frame = r.take(frameHeader)
		return nil, ErrEmptyFrame
	}
	if uint64(size) > uint64(limit) {
		r.frame, _ = r.in.Peek(r.in.Buffered()) // it is there
		return nil, &FrameSizeError{Size: size, Limit: limit}
	}
	if n := frameHeader + int(size); n > r.in.Size() {
		err = r.large(n)
	} else if _, err = r.in.Peek(n); err == nil {
		r.frame = r.take(n)
	}
	if err != nil {
		return nil, within(err)
	}
	return r.frame[frameHeader:], nil
}

// take removes n bytes from the buffer. They are valid until the next read.
func (r *FrameReader) take(n int) []byte {
	r.next += int64(n)
	return r.in.Take(n)
}

// large reads a frame of n bytes, with its length, that does not fit in the buffer.
func (r *FrameReader) large(n int) error {
	frame, err := intake.Collect(r.meter, r.in, nil, n)
	if err != nil {
		return err
	}
	r.frame = frame
	r.next += int64(n)
	return nil
}

// within returns the error for the end of the stream within a frame.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
