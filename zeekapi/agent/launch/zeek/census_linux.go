package zeek

import (
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// census lists processes for concurrent callers. Callers that arrive before a scan
// begins share its result: when hundreds of nodes die at once, each of them needs a
// search for remaining processes.
type census struct {
	counting sync.Mutex // held during a scan

	mu   sync.Mutex
	next *count // the next scan, not begun; nil: none is requested
}

type count struct {
	done chan struct{}
	all  []mark
}

// processes is the census of the machine.
var processes census

// take scans all processes after the call. It returns them with their marks, which are
// empty if the environment of a process is not readable.
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
	c.next = nil // later calls need another scan
	c.mu.Unlock()
	defer close(n.done)
	_ = proc.Each(func(pid int, s proc.Stat) { // without /proc the result is empty
		id, err := identityOf(pid, s)
		if err != nil {
			return
		}
		token, dir, _ := readMark(pid)
		n.all = append(n.all, mark{id: id, group: s.Group, token: token, dir: dir})
	})
	return n.all
}
