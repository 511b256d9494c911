package zeek

import (
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// census counts processes for all who want to know at the same time: when
// hundreds of nodes die at once, each looks for what it left.
type census struct {
	counting sync.Mutex // held while it is counted

	mu   sync.Mutex
	next *count // the next count, not begun; nil: none is requested
}

type count struct {
	done chan struct{}
	all  []mark
}

var everybody census

// take returns all processes as they are after it was called, with their marks
// as far as we may look.
func (c *census) take() []mark {
	c.mu.Lock()
	n, first := c.next, false
	if n == nil {
		n, first = &count{done: make(chan struct{})}, true
		c.next = n
	}
	c.mu.Unlock()
	if !first {
		<-n.done
		return n.all
	}
	c.counting.Lock()
	defer c.counting.Unlock()
	c.mu.Lock()
	c.next = nil // who comes from now on is too late for this one
	c.mu.Unlock()
	defer close(n.done)
	_ = proc.Each(func(pid int, s proc.Stat) { // without /proc there is none to be found
		id, err := identityOf(pid, s)
		if err != nil {
			return
		}
		token, dir, _ := readMark(pid)
		n.all = append(n.all, mark{id: id, group: s.Group, token: token, dir: dir})
	})
	return n.all
}
