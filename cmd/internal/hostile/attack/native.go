package attack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/wire"
)

// Sizes of frames: the limit is 64 MB, or less for services with little memory.
const (
	giant = 60 << 20
	large = 12 << 20
)

// native attacks native ports.
var native = []Attack{
	{"giant frames", "60 peers that announce frames of 60 MB, send most of them, and dribble", func(a *attacker) {
		frame := append(binary.BigEndian.AppendUint32(nil, giant), make([]byte, giant-1000)...)
		a.peers(60, everything, func(p *peer) { a.dribble(p.Conn, frame, 900) })
	}},
	{"giant frames of fast peers", "60 peers that send frames of 60 MB without end", func(a *attacker) {
		frame := append(binary.BigEndian.AppendUint32(nil, giant), make([]byte, giant)...)
		a.peers(60, everything, func(p *peer) { a.repeat(p, frame) })
	}},
	{"large frames", "60 peers that send most of a frame of 12 MB, and dribble", func(a *attacker) {
		frame := append(binary.BigEndian.AppendUint32(nil, large), make([]byte, large-1000)...)
		a.peers(60, everything, func(p *peer) { a.dribble(p.Conn, frame, 900) })
	}},
	{"large frames of fast peers", "60 peers that send frames of 12 MB without end", func(a *attacker) {
		frame := append(binary.BigEndian.AppendUint32(nil, large), make([]byte, large)...)
		a.peers(60, everything, func(p *peer) { a.repeat(p, frame) })
	}},
	{"large values", "60 peers that publish texts of 12 MB without end", func(a *attacker) {
		payload := bin.Append(nil, broker.NewEvent("x", broker.String(strings.Repeat("x", large))).Value())
		a.peers(60, everything, func(p *peer) {
			for p.publish(a.topic(stock), payload) == nil {
				a.did()
			}
		})
	}},
	{"announced frames", "1000 peers that announce frames of 60 MB and send nothing of them", func(a *attacker) { a.announce(1000) }},
	{"announced frames of many addresses", "the same peers, each with an address of its own", func(a *attacker) {
		a.scattered = true
		a.announce(1000)
	}},
	{"announced frames beside subscribers", "500 peers that do the same, and 1000 that subscribe to everything", func(a *attacker) {
		var group sync.WaitGroup
		group.Go(func() { a.peers(1000, everything, func(p *peer) { a.hold(p) }) })
		group.Go(func() { a.announce(500) })
		group.Wait()
	}},
	{"giant handshakes", "900 connections that announce a handshake message of 1 MB, and dribble", func(a *attacker) {
		frame := append(binary.BigEndian.AppendUint32(nil, wire.MaxHandshakeFrame), make([]byte, wire.MaxHandshakeFrame-1000)...)
		a.crowd(900, func(int) {
			c := a.dial()
			if c == nil {
				return
			}
			defer c.Close()
			a.dribble(c, frame, 900)
		})
	}},
	{"half handshakes", "500 connections that stop within the handshake", func(a *attacker) {
		a.crowd(500, func(int) {
			c := a.dial()
			if c == nil {
				return
			}
			defer c.Close()
			c.Write(wire.AppendFrame(nil, wire.Hello{Sender: uuid.New(), MinVersion: 1, MaxVersion: 1}.Append(nil)))
			a.hold(c)
		})
	}},
	{"idle peers", "1500 peers that do nothing but answer pings", func(a *attacker) {
		a.peers(1500, broker.Filter{"/"}, func(p *peer) { a.hold(p) })
	}},
	{"giant filters", "500 peers that subscribe to a megabyte of topics", func(a *attacker) {
		filter := longFilter(15)
		a.peers(500, filter, func(p *peer) { a.hold(p) })
	}},
	{"short topics", "100 peers that subscribe to 65000 short topics", func(a *attacker) {
		var filter broker.Filter
		for i := range 65_000 {
			filter = append(filter, fmt.Sprintf("%05d", i))
		}
		a.peers(100, filter, func(p *peer) { a.hold(p) })
	}},
	{"filter updates", "20 peers that change their subscriptions all the time", func(a *attacker) {
		a.peers(20, everything, func(p *peer) {
			for i := 0; p.send(wire.RoutingUpdate(p.id, p.to, broker.Filter{fmt.Sprint("/", i)})) == nil; i++ {
				a.did()
			}
		})
	}},
	{"pings", "20 peers that send pings and read no pongs", func(a *attacker) {
		a.peers(20, everything, func(p *peer) {
			for p.send(wire.Envelope{Sender: p.id, Receiver: p.to, Type: wire.TypePing, TTL: 1, Topic: broker.ControlTopic, Payload: make([]byte, 4000)}) == nil {
				a.did()
			}
		})
	}},
	{"random frames", "peers that send frames of random bytes", func(a *attacker) {
		a.peers(16, everything, func(p *peer) {
			b := make([]byte, 1+rand.IntN(500))
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			p.Write(wire.AppendFrame(nil, b))
			a.did()
		})
	}},
	{"damaged messages", "peers that send a message with changed or missing bytes", func(a *attacker) {
		good := bin.Append(nil, a.question().Value())
		a.peers(16, everything, func(p *peer) {
			for range 50 {
				b := bytes.Clone(good)[:1+rand.IntN(len(good))]
				for range 1 + rand.IntN(4) {
					b[rand.IntN(len(b))] = byte(rand.Uint32())
				}
				if p.publish(a.topic(own), b) != nil {
					return
				}
				a.did()
			}
		})
	}},
	{"small values", "30 peers that send messages of millions of values of a byte", func(a *attacker) {
		payload := bomb()
		a.peers(30, everything, func(p *peer) {
			for p.publish(a.topic(stock), payload) == nil {
				a.did()
			}
		})
	}},
	{"huge counts", "peers that announce containers of 4 billion elements", func(a *attacker) {
		payload := append([]byte{byte(broker.KindVector)}, 0xff, 0xff, 0xff, 0xff, 0x0f)
		a.peers(16, everything, func(p *peer) {
			for range 100 {
				if p.publish(a.topic(stock), payload) != nil {
					return
				}
				a.did()
			}
		})
	}},
	{"deep nesting", "peers that send a million nested containers", func(a *attacker) {
		payload := bytes.Repeat([]byte{byte(broker.KindVector), 1}, 1_000_000)
		a.peers(8, everything, func(p *peer) {
			for p.publish(a.topic(stock), payload) == nil {
				a.did()
			}
		})
	}},
	{"endless handshakes", "peers that complete the handshake and leave", func(a *attacker) {
		a.peers(32, broker.Filter{"/x"}, func(*peer) { a.did() })
	}},
}

// announce keeps n peers that announce a frame that is too large for their target.
func (a *attacker) announce(n int) {
	a.peers(n, nil, func(p *peer) {
		p.Write(binary.BigEndian.AppendUint32(nil, giant))
		a.hold(p)
	})
}

// bomb returns an encoded event whose argument is a vector of millions of values
// of a byte each.
func bomb() []byte {
	const n = 4_000_000
	whole := bin.Append(nil, broker.NewEvent("x", broker.String("marker")).Value())
	marker := bin.Append(nil, broker.String("marker"))
	vector := binary.AppendUvarint([]byte{byte(broker.KindVector)}, n)
	return bytes.Replace(whole, marker, append(vector, make([]byte, n)...), 1)
}

// longFilter returns topics of the largest size.
func longFilter(topics int) broker.Filter {
	var f broker.Filter
	for i := range topics {
		f = append(f, fmt.Sprint(i, "/")+strings.Repeat("x", broker.MaxTopicLen-10))
	}
	return f
}

var everything = broker.Filter{""}

// peer is a native peer after its handshake.
type peer struct {
	net.Conn
	id, to uuid.UUID
}

// peers keeps n peers with these subscriptions connected. It calls act for each,
// and closes the connection when act returns.
func (a *attacker) peers(n int, filter broker.Filter, act func(*peer)) {
	a.crowd(n, func(int) {
		if p := a.peer(uuid.New(), filter); p != nil {
			defer p.Close()
			act(p)
		}
	})
}

// peer connects a peer, or returns nil.
func (a *attacker) peer(id uuid.UUID, filter broker.Filter) *peer {
	c := a.dial()
	if c == nil {
		return nil
	}
	a.did()
	p := &peer{Conn: c, id: id}
	c.SetDeadline(time.Now().Add(dialTimeout))
	if !p.handshake(!a.target.Listen, filter) {
		c.Close()
		return nil
	}
	c.SetDeadline(time.Time{})
	return p
}

func (p *peer) handshake(dialed bool, filter broker.Filter) bool {
	h := wire.NewHandshake(wire.Config{
		Self: p.id, Dialed: dialed,
		Filter: func() broker.Filter { return filter },
		Admit:  func(uuid.UUID, bool) wire.Admission { return wire.Admit },
	})
	for step := h.Start(); ; {
		if _, err := p.Write(step.Send); err != nil {
			return false
		}
		switch step.Outcome {
		case wire.Peered:
			p.to = h.Peer()
			return true
		case wire.Continue:
		default:
			return false
		}
		var header [4]byte
		if _, err := io.ReadFull(p, header[:]); err != nil {
			return false
		}
		b := make([]byte, binary.BigEndian.Uint32(header[:])%wire.MaxHandshakeFrame)
		if _, err := io.ReadFull(p, b); err != nil {
			return false
		}
		step = h.Receive(b)
	}
}

func (p *peer) send(e wire.Envelope) error {
	_, err := p.Write(e.AppendFrame(nil))
	return err
}

// publish sends an encoded value.
func (p *peer) publish(topic string, payload []byte) error {
	return p.send(wire.Envelope{Sender: p.id, Type: wire.TypeData, TTL: wire.DefaultTTL, Topic: topic, Payload: payload})
}
