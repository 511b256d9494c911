package peering

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Defaults of Config. Those of the queues are Broker's (since Zeek 7.2), and
// ByeTimeout is (Broker: unpeer_timeout).
const (
	DefaultQueue            = 8192
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultPingInterval     = 10 * time.Second
	DefaultByeTimeout       = 3 * time.Second
	DefaultRetryMin         = time.Second
	DefaultRetryMax         = 10 * time.Second
	DefaultMaxPeers         = 4096
	DefaultMaxHandshakes    = 1024
)

// Config says how an Endpoint behaves. All of it is optional: what is zero is
// the default.
type Config struct {
	// ID is the endpoint ID. It must be fresh, because peers refuse one that
	// they still know, and of version 1 to 5, because Zeek cannot parse others.
	// The default is a random one.
	ID uuid.UUID

	// Subscriptions are the first topic prefixes to subscribe to.
	Subscriptions []string

	// SendQueue is how many messages may wait for each peer, and SendBytes how
	// many bytes, but for a single message that is larger; SendOverflow says
	// what happens to more. With OverflowBlock, Publish waits for the slowest.
	// By default 64 MiB may wait, or four frames of the largest size if that is
	// more. What waits is taken all at a time, so that there may be twice as
	// much in memory; what Publish sends to many peers is there once.
	SendQueue, SendBytes int
	SendOverflow         broker.Overflow

	// ReceiveQueue is how many messages of all peers may wait for Next, which
	// may have as many bytes as SendBytes is by default;
	// ReceiveOverflow says what happens to more. PeerAdded and PeerLost are
	// never dropped. With OverflowBlock, peers have to wait for the caller of
	// Next, which Zeek before 7.1 does not take well; with OverflowDisconnect
	// the peer whose message does not fit is disconnected.
	ReceiveQueue    int
	ReceiveOverflow broker.Overflow

	// MaxFrame is the largest message to send or receive, in bytes.
	MaxFrame int

	// HandshakeTimeout is for everything from the first byte to peered, TLS
	// included.
	HandshakeTimeout time.Duration

	// PingInterval is after which silence a peer is pinged; negative for never.
	// A peer that stays silent for PeerTimeout, by default three intervals, is
	// lost.
	PingInterval time.Duration
	PeerTimeout  time.Duration

	// ByeTimeout is how long a peer may take to let us go, or to go.
	ByeTimeout time.Duration

	// RetryMin and RetryMax bound the time between two attempts to connect; it
	// doubles from one to the next, and is shortened at random by up to half.
	RetryMin, RetryMax time.Duration

	// MaxPeers is how many peers there may be before more are refused; those
	// that we dial are not. MaxHandshakes is how many accepted connections may
	// be on their way to become one.
	MaxPeers, MaxHandshakes int

	// Secure makes a connection that we dialed or accepted a secure one. It
	// returns after the TLS handshake, at the end of ctx at the latest. If what
	// it returns has a method PeerNames() []string, the peer has proved with a
	// certificate that these are its names. The default is to use no TLS; a
	// Zeek without other settings wants Secure of a security.Layer.
	Secure func(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error)

	// DialContext connects to the address given to Dial. The default is TCP.
	DialContext func(ctx context.Context, address string) (net.Conn, error)

	// Trace returns who wants to see the frames of a connection, or nil.
	Trace func(ConnInfo) FrameTracer

	// Hooks may implement HookPeers, HookTraffic and HookDrops.
	Hooks any

	// Log is for what nobody can be told otherwise. The zero value is silent.
	Log zerolog.Logger
}

// validate returns c with the defaults filled in.
func (c Config) validate() (Config, error) {
	if c.ID == uuid.Nil {
		c.ID = uuid.New()
	}
	if v := c.ID.Version(); v < 1 || v > 5 {
		return c, fmt.Errorf("peering: endpoint ID %s is of version %d, Zeek wants 1 to 5", c.ID, v)
	}
	for _, limit := range []struct {
		name  string
		value *int
		or    int
	}{
		{"SendQueue", &c.SendQueue, DefaultQueue},
		{"ReceiveQueue", &c.ReceiveQueue, DefaultQueue},
		{"MaxFrame", &c.MaxFrame, wire.DefaultMaxFrame},
		{"SendBytes", &c.SendBytes, queue.Budget(cmp.Or(c.MaxFrame, wire.DefaultMaxFrame))},
		{"MaxPeers", &c.MaxPeers, DefaultMaxPeers},
		{"MaxHandshakes", &c.MaxHandshakes, DefaultMaxHandshakes},
	} {
		if *limit.value < 0 {
			return c, fmt.Errorf("peering: %s is %d, must not be negative", limit.name, *limit.value)
		}
		if *limit.value == 0 {
			*limit.value = limit.or
		}
	}
	if c.MaxFrame > wire.MaxFrame {
		return c, fmt.Errorf("peering: MaxFrame is %d, Zeek takes at most %d", c.MaxFrame, wire.MaxFrame)
	}
	if c.PingInterval == 0 {
		c.PingInterval = DefaultPingInterval
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"HandshakeTimeout", &c.HandshakeTimeout, DefaultHandshakeTimeout},
		{"PeerTimeout", &c.PeerTimeout, 3 * c.PingInterval},
		{"ByeTimeout", &c.ByeTimeout, DefaultByeTimeout},
		{"RetryMin", &c.RetryMin, DefaultRetryMin},
		{"RetryMax", &c.RetryMax, max(DefaultRetryMax, c.RetryMin)},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("peering: %s is %s, must not be negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if c.RetryMax < c.RetryMin {
		return c, fmt.Errorf("peering: RetryMax %s is below RetryMin %s", c.RetryMax, c.RetryMin)
	}
	if c.DialContext == nil {
		c.DialContext = func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	}
	return c, nil
}

// Topics that begin with the control topic are Broker's own: Zeek would take
// what is published under one of them for its own status messages.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("peering: %w: empty", ErrTopic)
	case len(topic) > broker.MaxTopicLen:
		return fmt.Errorf("peering: %w: %d bytes, limit is %d", ErrTopic, len(topic), broker.MaxTopicLen)
	case strings.HasPrefix(topic, broker.ControlTopic):
		return fmt.Errorf("peering: %w: %q is reserved", ErrTopic, topic)
	}
	return nil
}

// checkFilter refuses what no peer would take.
func checkFilter(f broker.Filter) error {
	for _, p := range f {
		if len(p) > broker.MaxTopicLen {
			return fmt.Errorf("peering: %w: prefix of %d bytes, limit is %d", ErrTopic, len(p), broker.MaxTopicLen)
		}
	}
	if len(f) > wire.MaxFilterTopics {
		return fmt.Errorf("peering: %w: %d prefixes, limit is %d", ErrTopic, len(f), wire.MaxFilterTopics)
	}
	if n := len(wire.AppendFilter(nil, f)); n >= wire.MaxHandshakeFrame {
		return fmt.Errorf("peering: %w: prefixes of %d bytes, limit is %d", ErrTopic, n, wire.MaxHandshakeFrame-1)
	}
	return nil
}
