package peering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/internal/intake"
	"github.com/zeekwire/zeekwire/broker/internal/queue"
	"github.com/zeekwire/zeekwire/broker/internal/settings"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Defaults of Config. DefaultQueue and DefaultByeTimeout are Broker's own values
// (since Zeek 7.2; Broker: unpeer_timeout).
const (
	DefaultQueue            = 8192 // messages
	DefaultMaxMessage       = wire.DefaultMaxFrame
	DefaultMaxIncomplete    = intake.DefaultBytes
	DefaultStallTimeout     = intake.DefaultTimeout
	DefaultMaxUnsent        = queue.DefaultTotal
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultPingInterval     = 10 * time.Second
	DefaultByeTimeout       = 3 * time.Second
	DefaultRetryMin         = time.Second
	DefaultRetryMax         = 10 * time.Second
	DefaultMaxPeers         = 4096
	DefaultMaxHandshakes    = 1024
)

// Config configures an Endpoint. The zero Config is valid. For every number and
// duration, zero means the default and a negative value is an error of New,
// except where a field says otherwise.
type Config struct {
	// ID is the endpoint ID. It must be new, because peers refuse an ID that they
	// still know, and of version 1 to 5, because Zeek cannot parse others. The
	// default is a random ID.
	ID uuid.UUID

	// Subscriptions are the initial subscriptions, as for Subscribe.
	Subscriptions []string

	// SendQueue and SendBytes limit the messages, and the bytes, queued for each
	// peer. A single message may exceed SendBytes. The defaults are DefaultQueue
	// messages, and 64 MiB or four messages of MaxMessage bytes if that is more.
	// The writer takes the whole queue at once, so memory use can reach twice
	// SendBytes for each peer; a message published to many peers exists once.
	//
	// SendOverflow is the policy when the queue is full. With OverflowBlock,
	// Publish waits for the slowest peer.
	SendQueue, SendBytes int
	SendOverflow         broker.Overflow

	// MaxUnsent limits the bytes in the send queues of all peers together, where a
	// message published to many peers counts once. The default is DefaultMaxUnsent.
	// If it is exceeded, the peer is lost that has read nothing for the longest time,
	// of those with more than an equal share, if that is more than 5 s. If four times
	// as much is exceeded, the peer with the most bytes is lost.
	MaxUnsent int

	// ReceiveQueue limits the messages of all peers queued for Next. The default
	// is DefaultQueue. ReceiveBytes limits their memory; a single message may exceed
	// it, and memory use can reach twice the limit. The default is that of SendBytes.
	//
	// ReceiveOverflow is the policy when the queue is full. PeerAdded and
	// PeerLost are never dropped. With OverflowBlock the endpoint stops reading
	// from its peers until Next is called, which makes Zeek before 7.1 block.
	// With OverflowDisconnect the peer whose message does not fit is lost.
	ReceiveQueue    int
	ReceiveBytes    int
	ReceiveOverflow broker.Overflow

	// MaxMessage is the size of the largest message to send or receive, in
	// bytes, including its native headers. Values may have one element for each 16
	// bytes of it, or 65 536 if that is more. The default is DefaultMaxMessage, the
	// limit is wire.MaxFrame.
	MaxMessage int

	// MaxIncomplete limits the memory of incoming frames, in bytes, for all peers
	// together: of frames that have not arrived completely, and of complete ones
	// that wait for room in the receive queue. It does not include the fixed buffer
	// of each connection. The default is DefaultMaxIncomplete. Frames larger than
	// that cannot be received.
	//
	// When a frame needs more memory than is left, a peer is lost, of those whose
	// incomplete frame takes more than an equal share: the one that has been the
	// slowest to send its last 64 KiB if that took more than a second, or else the
	// one with the largest frame.
	MaxIncomplete int

	// StallTimeout limits the time in which the next 64 KiB of a frame that has
	// begun, or its rest, must arrive. Otherwise the peer is lost. The default is
	// DefaultStallTimeout, so that 2.2 KB/s are always sufficient.
	StallTimeout time.Duration

	// Payload, if non-nil, is called with the encoded value of each message whose topic
	// matches a subscription, before it is decoded. If the result handled is true, the
	// message is not decoded, and Next does not return it. An error counts and is logged
	// like a message that cannot be decoded. It is called by the goroutine that
	// reads from the peer, which waits for it, and concurrently for several peers. It
	// must not keep payload. The method Payload of events.Handlers is such a function.
	Payload func(peer broker.Peer, topic string, payload []byte) (handled bool, err error)

	// HandshakeTimeout limits connecting, and then the whole handshake,
	// including TLS. The default is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration

	// PingInterval is the idle time after which a peer is pinged. The default is
	// DefaultPingInterval. A negative value disables pings.
	PingInterval time.Duration

	// PeerTimeout is the idle time after which a peer is lost. The default is
	// three times PingInterval. It has no effect if pings are disabled.
	PeerTimeout time.Duration

	// ByeTimeout limits the closing handshake. The default is
	// DefaultByeTimeout.
	ByeTimeout time.Duration

	// RetryMin and RetryMax limit the time between attempts to connect. It
	// doubles with each failed attempt, and is shortened at random by up to half.
	// The defaults are DefaultRetryMin, and DefaultRetryMax or RetryMin if that
	// is more.
	RetryMin, RetryMax time.Duration

	// MaxPeers limits the number of peers; a few more may connect from loopback
	// addresses. If there are too many, a further incoming connection takes the
	// place of a peer without a verified certificate that has sent no message
	// for a minute, or of one whose address has more peers. If there is none, it
	// is refused. Outgoing connections are not limited. The default is
	// DefaultMaxPeers, or half of the file descriptors that the process may
	// have, if that is less.
	MaxPeers int

	// MaxHandshakes limits the number of incoming connections that have not
	// completed their handshake. One address can have half of them, unless it is
	// a loopback address. A further connection takes the place of one that has
	// not sent anything for a second, or of the oldest one of the address that
	// has the most. The default is DefaultMaxHandshakes, or an eighth of the
	// file descriptors that the process may have, if that is less.
	MaxHandshakes int

	// TLS secures a new connection, as the Hook method of security.Layer does. It
	// performs the TLS handshake, returns no later than the end of ctx, and
	// closes conn on an error. If the result has a method PeerNames() []string,
	// these are the names in the peer's verified certificate, and become its
	// Identity. If nil, connections do not use TLS; Zeek's default is anonymous
	// TLS.
	TLS func(ctx context.Context, conn net.Conn, dialed bool) (net.Conn, error)

	// DialContext opens connections to the addresses given to AddPeer and
	// Connect. If nil, a net.Dialer is used. The network is "tcp".
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// Trace returns a tracer for a new connection, or nil to trace nothing.
	Trace func(ConnInfo) FrameTracer

	// Hooks may implement broker.HookPeers, broker.HookTraffic and
	// broker.HookDrops. If non-nil it must implement at least one of them.
	Hooks any

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// withDefaults returns c with all defaults filled in.
func (c Config) withDefaults() (Config, error) {
	if c.ID == uuid.Nil {
		c.ID = uuid.New()
	}
	if v := c.ID.Version(); v < 1 || v > 5 {
		return c, fmt.Errorf("peering: endpoint ID %s is of version %d, Zeek requires 1 to 5", c.ID, v)
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	return c, errors.Join(c.defaultLimits(), c.defaultTimes())
}

func (c *Config) defaultLimits() error {
	if c.MaxMessage > wire.MaxFrame {
		return fmt.Errorf("peering: MaxMessage is %d, limit is %d", c.MaxMessage, wire.MaxFrame)
	}
	err := settings.Default("peering: MaxMessage", &c.MaxMessage, DefaultMaxMessage)
	return errors.Join(err,
		settings.Default("peering: MaxIncomplete", &c.MaxIncomplete, DefaultMaxIncomplete),
		settings.Default("peering: MaxUnsent", &c.MaxUnsent, DefaultMaxUnsent),
		settings.Default("peering: SendQueue", &c.SendQueue, DefaultQueue),
		settings.Default("peering: SendBytes", &c.SendBytes, queue.Budget(c.MaxMessage)),
		settings.Default("peering: ReceiveQueue", &c.ReceiveQueue, DefaultQueue),
		settings.Default("peering: ReceiveBytes", &c.ReceiveBytes, queue.Budget(c.MaxMessage)),
		settings.Default("peering: MaxPeers", &c.MaxPeers, min(DefaultMaxPeers, admission.Descriptors()/2)),
		settings.Default("peering: MaxHandshakes", &c.MaxHandshakes, min(DefaultMaxHandshakes, admission.Descriptors()/8)),
	)
}

func (c *Config) defaultTimes() error {
	if c.PingInterval == 0 {
		c.PingInterval = DefaultPingInterval
	}
	err := settings.Default("peering: RetryMin", &c.RetryMin, DefaultRetryMin)
	err = errors.Join(err,
		settings.Default("peering: RetryMax", &c.RetryMax, max(DefaultRetryMax, c.RetryMin)),
		settings.Default("peering: HandshakeTimeout", &c.HandshakeTimeout, DefaultHandshakeTimeout),
		settings.Default("peering: StallTimeout", &c.StallTimeout, DefaultStallTimeout),
		settings.Default("peering: PeerTimeout", &c.PeerTimeout, max(0, 3*c.PingInterval)),
		settings.Default("peering: ByeTimeout", &c.ByeTimeout, DefaultByeTimeout),
	)
	if err == nil && c.RetryMax < c.RetryMin {
		err = fmt.Errorf("peering: RetryMax %s is less than RetryMin %s", c.RetryMax, c.RetryMin)
	}
	return err
}

// maxLoopback limits the room that only loopback addresses can use.
const maxLoopback = 64

// limits returns the limits of connections. A peer is idle if it has sent no
// message for a minute: a controller asks agents with nodes more often. Agents that
// connect at once must not replace each other before their handshakes can end.
func (c *Config) limits() admission.Limits {
	return admission.Limits{
		Arriving: c.MaxHandshakes, PerAddress: (c.MaxHandshakes + 1) / 2,
		Established: c.MaxPeers, Loopback: min(maxLoopback, c.MaxPeers/16, c.MaxHandshakes/16),
		Grace: time.Second, IdleGrace: time.Minute,
	}
}

// checkTopic returns an error for topics that cannot be published to. Topics
// that begin with the control topic are Broker's own: Zeek would treat messages
// to them as its own status messages.
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

// checkFilter returns an error for filters that peers would refuse.
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
