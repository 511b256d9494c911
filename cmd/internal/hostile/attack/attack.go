// Package attack attacks controllers, agents and clients over the loopback
// interface, to test that they withstand it. Run refuses every other target. All
// attacks end with their context.
package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
)

// Target is the victim of an attack.
type Target struct {
	Address   string // host and port of a listener; the host is a loopback address
	WebSocket bool   // the listener is for WebSockets
	HTTPS     bool   // the listener is for HTTP, with the TLS of HTTP if it uses TLS
	TLS       bool   // the listener uses TLS; the attacker has no certificate
	Listen    bool   // the attacker listens at Address, and the target connects to it
	Agent     bool   // the target is the agent, and not the controller
	Instance  string // name of a connected agent
	Node      string // name of a node of that agent
	Post      string // path for requests with a body
	Stream    string // path for streams of Server-Sent Events
}

// check returns an error unless the target is on the loopback interface.
func (t Target) check() error {
	a, err := netip.ParseAddrPort(t.Address)
	if err != nil {
		return fmt.Errorf("target %q: %w", t.Address, err)
	}
	if !a.Addr().IsLoopback() {
		return fmt.Errorf("target %q is not a loopback address", t.Address)
	}
	return nil
}

// Stats counts the actions of an attack.
type Stats struct {
	Connections int64    // connections that were opened
	Actions     int64    // messages, requests and frames that were sent, and connections that were held
	Breaches    []string // what the target should have refused
}

// Attack is a kind of attack.
type Attack struct {
	Name    string
	Summary string
	run     func(*attacker)
}

// MaxDuration is the longest duration of an attack.
const MaxDuration = 2 * time.Minute

// Run runs the attack with this name until ctx ends, for at most MaxDuration. It
// calls begun, which must not be nil, when the attack has done something, or when it
// listens. It returns
// an error for an unknown attack and for a target that is not a loopback address.
func Run(ctx context.Context, name string, t Target, begun func()) (Stats, error) {
	if err := t.check(); err != nil {
		return Stats{}, err
	}
	i := slices.IndexFunc(attacks, func(a Attack) bool { return a.Name == name })
	if i < 0 {
		return Stats{}, fmt.Errorf("unknown attack %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, MaxDuration)
	defer cancel()
	layer, err := security.New(security.Config{Mode: security.Anonymous})
	if err != nil {
		return Stats{}, err
	}
	a := &attacker{ctx: ctx, target: t, layer: layer, begun: sync.OnceFunc(begun)}
	if t.Listen {
		var config net.ListenConfig
		if a.listener, err = config.Listen(ctx, "tcp", t.Address); err != nil {
			return Stats{}, err
		}
		context.AfterFunc(ctx, func() { a.listener.Close() })
		a.begun()
	}
	attacks[i].run(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	return Stats{Connections: a.connections.Load(), Actions: a.actions.Load(), Breaches: slices.Sorted(maps.Keys(a.breaches))}, nil
}

// All returns all attacks.
func All() []Attack { return slices.Clone(attacks) }

var attacks = slices.Concat(connecting, native, requesting, webSockets, httpRequests, sites, strangers, controlling, serving, ports)

// attacker is a running attack. Its methods may be called concurrently.
type attacker struct {
	ctx      context.Context
	target   Target
	layer    *security.Layer
	listener net.Listener // nil unless the target connects

	begun     func()
	scattered bool // each connection has an address of its own

	connections, actions atomic.Int64

	mu       sync.Mutex
	breaches map[string]bool
}

// pause is the time between two attempts of the same member of a crowd.
const pause = 20 * time.Millisecond

// crowd calls act again and again, in n goroutines, until the attack ends. The
// argument is the number of the goroutine.
func (a *attacker) crowd(n int, act func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			for a.ctx.Err() == nil {
				act(i)
				a.wait(pause)
			}
		})
	}
	group.Wait()
}

// wait waits, and reports whether the attack continues.
func (a *attacker) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// did counts an action.
func (a *attacker) did() {
	a.actions.Add(1)
	a.begun()
}

// breach reports what the target should have refused.
func (a *attacker) breach(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.breaches == nil {
		a.breaches = make(map[string]bool)
	}
	a.breaches[text] = true
}

// dialTimeout limits the time to open a connection.
const dialTimeout = 5 * time.Second

// from is the attacker's address. It is not the operator's: who shares an address with
// attackers can lose an idle connection to them (SECURITY.md).
var from = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 66)}

// from returns the local address of a new connection.
func (a *attacker) from() *net.TCPAddr {
	if !a.scattered {
		return from
	}
	n := rand.Uint32()
	return &net.TCPAddr{IP: net.IPv4(127, 66, byte(n>>8), byte(n))}
}

// tcp opens a connection that closes when the attack ends, or accepts one. It
// returns nil if that fails.
func (a *attacker) tcp() net.Conn {
	var c net.Conn
	var err error
	if a.listener != nil {
		c, err = a.listener.Accept()
	} else {
		d := net.Dialer{Timeout: dialTimeout, LocalAddr: a.from()}
		c, err = d.DialContext(a.ctx, "tcp", a.target.Address)
	}
	if err != nil {
		return nil
	}
	a.connections.Add(1)
	context.AfterFunc(a.ctx, func() { c.Close() })
	return c
}

// dial is like tcp, with TLS if the target uses it.
func (a *attacker) dial() net.Conn {
	c := a.tcp()
	if c == nil || !a.target.TLS {
		return c
	}
	ctx, cancel := context.WithTimeout(a.ctx, dialTimeout)
	defer cancel()
	var secure net.Conn
	var err error
	if a.target.WebSocket || a.target.HTTPS {
		client := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // an attacker accepts every certificate
		secure, err = client, client.HandshakeContext(ctx)
	} else {
		secure, err = a.layer.Secure(ctx, c, !a.target.Listen)
	}
	if err != nil {
		c.Close()
		return nil
	}
	return secure
}

// hold reads and discards what the target sends until it closes the connection or
// the attack ends.
func (a *attacker) hold(c net.Conn) {
	a.did()
	buf := make([]byte, 4<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// repeat writes b until the connection ends.
func (a *attacker) repeat(c net.Conn, b []byte) {
	for {
		a.did()
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// dribble writes b quickly except for its last bytes, which follow one at a time.
func (a *attacker) dribble(c net.Conn, b []byte, last int) {
	a.did()
	if _, err := c.Write(b[:len(b)-last]); err != nil {
		return
	}
	for i := len(b) - last; i < len(b) && a.wait(100*time.Millisecond); i++ {
		if _, err := c.Write(b[i : i+1]); err != nil {
			return
		}
	}
}
