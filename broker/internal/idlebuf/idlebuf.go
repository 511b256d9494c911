// Package idlebuf reads from connections through buffers that are small while the
// connections are idle. Most connections are idle most of the time, and there may be
// thousands.
package idlebuf

import (
	"bufio"
	"io"
	"sync"
)

// smallSize is the size of the buffer of an idle connection, in bytes. It holds a typical
// message of a few values.
const smallSize = 512

// pools has the large buffers that no Reader uses, by size.
var pools sync.Map

// Reader is like a bufio.Reader. Its buffer is small while little arrives, and a large one
// comes from a pool. A Reader must not be used concurrently.
type Reader struct {
	in    *bufio.Reader // small, or a large one that reads from it
	small *bufio.Reader
	size  int // of the large one
	pool  *sync.Pool
	taken int // bytes that were taken since the large one was last empty
}

// NewReader returns a Reader with a buffer of at most size bytes. All Readers of that size
// share a pool.
func NewReader(r io.Reader, size int) *Reader {
	pool, ok := pools.Load(size)
	if !ok {
		pool, _ = pools.LoadOrStore(size, new(sync.Pool))
	}
	small := bufio.NewReaderSize(r, min(size, smallSize))
	return &Reader{in: small, small: small, size: size, pool: pool.(*sync.Pool)}
}

// Size returns the largest number of bytes that Peek can return.
func (r *Reader) Size() int { return r.size }

// Buffered returns the number of bytes that can be read without waiting.
func (r *Reader) Buffered() int { return r.in.Buffered() }

// Large reports whether the Reader has a large buffer now.
func (r *Reader) Large() bool { return r.in != r.small }

// Peek returns the next n bytes, at most Size, without taking them. They are valid until the
// next call of Peek or Read. If there is an error, there are fewer. After an error, the next
// call tries again, and nothing is lost.
func (r *Reader) Peek(n int) ([]byte, error) {
	r.shrink()
	if n > r.in.Size() {
		r.enlarge()
	}
	b, err := r.in.Peek(n)
	if !r.Large() && r.size > r.small.Size() && r.small.Buffered() == r.small.Size() {
		r.enlarge() // more may have arrived
		return r.in.Peek(n)
	}
	return b, err
}

// Take takes n bytes, which must be buffered. They are valid until the next call of Peek or
// Read.
func (r *Reader) Take(n int) []byte {
	b, _ := r.in.Peek(n)
	_, _ = r.in.Discard(n)
	r.taken += n
	return b
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.taken += n
	return n, err
}

func (r *Reader) enlarge() {
	b, ok := r.pool.Get().(*bufio.Reader)
	if !ok {
		b = bufio.NewReaderSize(nil, r.size)
	}
	b.Reset(r.small)
	r.in, r.taken = b, 0
}

// shrink gives the large buffer back if it is empty, and little was taken since it was empty
// before.
func (r *Reader) shrink() {
	if !r.Large() || r.in.Buffered() > 0 {
		return
	}
	if r.taken <= r.size/4 {
		r.in.Reset(nil)
		r.pool.Put(r.in)
		r.in = r.small
	}
	r.taken = 0
}
