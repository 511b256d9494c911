package httpapi

import (
	"fmt"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// callerIdle is the time for which an unused connection to the controller is kept.
const callerIdle = time.Minute

// caller is a principal's connection to the controller.
type caller struct {
	key    string
	client *client.Client
	line   *membus.Client
	users  int
	used   time.Time // when the last user left
}

// callers keeps one caller for each principal. It may be used concurrently.
type callers struct {
	bus      *membus.Server
	dialects []*zeekapi.Dialect
	topics   []string
	most     int

	mu    sync.Mutex
	byKey map[string]*caller
}

func newCallers(bus *membus.Server, dialects []*zeekapi.Dialect, topics []string, limits Limits) *callers {
	return &callers{bus: bus, dialects: dialects, topics: topics, most: limits.Clients, byKey: make(map[string]*caller)}
}

// acquire returns the caller of a peer, for one more user.
func (c *callers) acquire(p broker.Peer) *caller {
	key := callerKey(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	known := c.byKey[key]
	if known != nil {
		select {
		case <-known.line.Done(): // it did not keep up
			delete(c.byKey, key)
			known = nil
		default:
		}
	}
	if known == nil {
		known = c.connect(key, p)
		c.byKey[key] = known
	}
	known.users++
	return known
}

func (c *callers) connect(key string, p broker.Peer) *caller {
	line, err := c.bus.Connect(p, c.topics...)
	if err != nil { // the server is closed; requests fail
		line, _ = membus.NewServer().Connect(p, c.topics...)
		_ = line.Close()
	}
	return &caller{key: key, line: line, client: client.New(line, c.dialects...)}
}

// release ends the use of a caller.
func (c *callers) release(x *caller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.users--
	x.used = time.Now()
	if x.users == 0 && c.byKey[x.key] != x {
		_ = x.client.Close() // a broken one, that was replaced
	}
}

// sweep closes callers that are idle. If there are too many, it closes the one that has been
// idle the longest. It must be called with the lock held.
func (c *callers) sweep() {
	now := time.Now()
	var oldest *caller
	for key, x := range c.byKey {
		switch {
		case x.users > 0:
		case now.Sub(x.used) > callerIdle:
			delete(c.byKey, key)
			_ = x.client.Close()
		case oldest == nil || x.used.Before(oldest.used):
			oldest = x
		}
	}
	if len(c.byKey) >= c.most && oldest != nil {
		delete(c.byKey, oldest.key)
		_ = oldest.client.Close()
	}
}

func (c *callers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, x := range c.byKey {
		delete(c.byKey, key)
		_ = x.client.Close()
	}
}

// callerKey identifies a principal at one address.
func callerKey(p broker.Peer) string {
	if id := p.Identity; id != nil {
		return fmt.Sprintf("%q %v %q %s", id.Names, id.Certified, id.Proof, p.Addr.Addr())
	}
	return p.Name + " " + p.Addr.Addr().String()
}
