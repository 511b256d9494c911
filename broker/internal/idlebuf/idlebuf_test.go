package idlebuf

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// TestReader compares a Reader with the stream, for random calls and reads of all lengths.
func TestReader(t *testing.T) {
	stream := make([]byte, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range stream {
		stream[i] = byte(random.Uint32())
	}
	for _, size := range []int{16, smallSize, smallSize + 1, 16 << 10} {
		for name, in := range map[string]io.Reader{
			"whole": bytes.NewReader(stream), "halves": iotest.HalfReader(bytes.NewReader(stream)),
			"pieces": &pieces{bytes.NewReader(stream), random}, "interrupted": &interrupted{r: bytes.NewReader(stream)},
		} {
			r := NewReader(in, size)
			var large bool
			for rest := stream; len(rest) > 0; {
				n := min(1+random.IntN(size), len(rest))
				if random.IntN(3) == 0 {
					p := make([]byte, n)
					got, err := r.Read(p)
					if err != nil && !errors.Is(err, errInterrupted) || !bytes.Equal(p[:got], rest[:got]) {
						t.Fatalf("size %d, %s: read %d bytes, %v", size, name, got, err)
					}
					rest = rest[got:]
					continue
				}
				b, err := r.Peek(n)
				large = large || r.Large()
				if errors.Is(err, errInterrupted) {
					continue
				}
				if err != nil || !bytes.Equal(b, rest[:n]) || r.Buffered() < n || !bytes.Equal(r.Take(n), rest[:n]) {
					t.Fatalf("size %d, %s: %d bytes before the end, got %d of %d, %v", size, name, len(rest), len(b), n, err)
				}
				rest = rest[n:]
			}
			b, err := r.Peek(1)
			if errors.Is(err, errInterrupted) {
				b, err = r.Peek(1)
			}
			if len(b) > 0 || !errors.Is(err, io.EOF) {
				t.Errorf("size %d, %s: at the end %d bytes, %v", size, name, len(b), err)
			}
			if large != (size > smallSize) {
				t.Errorf("size %d, %s: there was a large buffer: %t", size, name, large)
			}
		}
	}
}

// pieces is a reader that returns a random number of bytes at a time.
type pieces struct {
	io.Reader
	random *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	return p.Reader.Read(b[:min(len(b), 1+p.random.IntN(1000))])
}

var errInterrupted = errors.New("interrupted")

// interrupted is a reader of which every other read fails.
type interrupted struct {
	r  io.Reader
	ok bool
}

func (i *interrupted) Read(b []byte) (int, error) {
	if i.ok = !i.ok; !i.ok {
		return 0, errInterrupted
	}
	return i.r.Read(b)
}
