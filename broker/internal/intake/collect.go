package intake

import (
	"errors"
	"io"
)

// Meter is the part of Account that Collect uses.
type Meter interface {
	Arrived(n int)
	Take(n int) error
	Give(n int)
}

// Collect reads a message of size bytes from r and returns it. The part head has been
// read already. If size is negative, the message ends with r.
//
// The memory is that of the bytes that have arrived, and from the middle of the
// message on that of the whole message. The caller returns what is left of it with
// Done.
func Collect(m Meter, r io.Reader, head []byte, size int) ([]byte, error) {
	c := collector{meter: m, r: r, head: head, size: size}
	for c.got = len(head); c.size < 0 || 2*c.got < c.size; {
		if err := c.piece(); errors.Is(err, io.EOF) && size < 0 {
			c.size = c.got
		} else if err != nil {
			return nil, err
		}
	}
	return c.rest()
}

type collector struct {
	meter Meter
	r     io.Reader
	size  int

	head   []byte
	pieces [][]byte
	taken  int // memory of the pieces
	got    int // bytes in head and pieces
}

// piece reads the next Step bytes of the message.
func (c *collector) piece() error {
	n := Step
	if c.size >= 0 {
		n = min(n, c.size-c.got)
	}
	if err := c.meter.Take(n); err != nil {
		return err
	}
	c.taken += n
	b := make([]byte, n)
	read, err := c.fill(b)
	c.got += read
	c.pieces = append(c.pieces, b[:read])
	return err
}

// rest returns the whole message after it has read the rest.
func (c *collector) rest() ([]byte, error) {
	if err := c.meter.Take(c.size); err != nil {
		return nil, err
	}
	whole := append(make([]byte, 0, c.size), c.head...)
	for _, b := range c.pieces {
		whole = append(whole, b...)
	}
	c.pieces = nil
	c.meter.Give(c.taken)
	_, err := c.fill(whole[c.got:c.size])
	return whole[:c.size], err
}

// fill reads len(b) bytes.
func (c *collector) fill(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = c.r.Read(b[n:])
		n += more
		c.meter.Arrived(more)
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}
