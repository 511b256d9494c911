package nodelink

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// retry is the pause before the next attempt to connect, or to request a hello.
const retry = 500 * time.Millisecond

// link is the connection to a node. It reconnects whenever the connection is lost.
type link struct {
	node string
	route
	relay   func() string // for relayed: the address of another node, "" if there is none
	dialect *zeekapi.Dialect
	events  *launch.Events
	log     zerolog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed at the end

	mu     sync.Mutex
	client *websocket.Client // nil: not connected
}

func newLink(l *Launcher, node string, r route) *link {
	k := &link{
		node: node, route: r, relay: l.relay, dialect: l.dialect, events: &l.events,
		log: l.log.With().Str("node", node).Str("address", r.address).Logger(), done: make(chan struct{}),
	}
	k.ctx, k.cancel = context.WithCancel(l.ctx)
	return k
}

// run connects repeatedly until the link ends.
func (k *link) run() {
	defer close(k.done)
	defer k.cancel()
	if k.kind != direct {
		k.awaitPort()
	}
	for k.kind != mute && k.ctx.Err() == nil {
		err := k.connect()
		k.log.Debug().AnErr("reason", err).Msg("not connected to the node")
		k.pause()
	}
}

// connect connects to the node, or to one that relays its messages, and receives messages
// until the connection is lost.
func (k *link) connect() error {
	address := k.address
	if k.kind == relayed {
		if address = k.relay(); address == "" {
			return errNoRelay
		}
	}
	client, err := websocket.Dial(k.ctx, websocket.ClientConfig{
		Address:         address,
		Subscriptions:   []string{nodescript.ResponseTopic(k.node)},
		ApplicationName: "zeekwire-agent",
	})
	if err != nil {
		return err
	}
	k.use(client)
	k.receive(client)
	k.use(nil)
	return client.Close()
}

var (
	errNoRelay = errors.New("a node that receives logs by ZeroMQ is reached through another node on its machine, and none is connected")
	errMute    = errors.New("a node that receives logs by ZeroMQ, without Broker and alone on its machine, accepts no requests")
)

// pause waits before the next attempt.
func (k *link) pause() {
	select {
	case <-time.After(retry):
	case <-k.ctx.Done():
	}
}

// awaitPort waits until the node listens at its port.
func (k *link) awaitPort() {
	var d net.Dialer
	for k.ctx.Err() == nil {
		if conn, err := d.DialContext(k.ctx, "tcp", k.address); err == nil {
			conn.Close()
			k.up()
			return
		}
		k.pause()
	}
}

// up reports the hello of the node.
func (k *link) up() { k.events.Add(launch.Up{Node: k.node, Indirect: k.indirect}) }

// connected returns the connection, nil if there is none.
func (k *link) connected() *websocket.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.client
}

func (k *link) use(c *websocket.Client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client = c
}

// receive receives messages of the node until the connection is lost. It repeats the request
// for a hello until one arrives, because messages sent before the subscription are lost.
func (k *link) receive(client *websocket.Client) {
	requesting, received := context.WithCancel(k.ctx)
	var requests sync.WaitGroup
	defer requests.Wait()
	defer received()
	requests.Go(func() {
		for {
			if err := broker.PublishEvent(requesting, client, nodescript.RequestTopic(k.node), broker.NewEvent(nodescript.HelloRequest)); err != nil {
				return
			}
			select {
			case <-time.After(retry):
			case <-requesting.Done():
				return
			}
		}
	})
	for {
		notification, err := client.Next(k.ctx)
		if err != nil {
			return
		}
		switch n := notification.(type) {
		case broker.PeerLost:
			return
		case broker.Received:
			switch msg := k.decode(n.Message).(type) {
			case zeekapi.NodeHello:
				received()
				k.up()
			case zeekapi.NodeDispatchResponse:
				k.events.Add(launch.Answered{Response: msg})
			}
		}
	}
}

// decode returns nil for messages that are not from the node.
func (k *link) decode(m broker.Message) zeekapi.Message {
	if m.Topic != nodescript.ResponseTopic(k.node) {
		return nil
	}
	ev, err := broker.ParseEvent(m.Value)
	if err != nil {
		k.log.Warn().Err(err).Msg("ignoring message")
		return nil
	}
	msg, err := k.dialect.Decode(ev)
	if err != nil {
		k.log.Warn().Err(err).Msg("ignoring event")
		return nil
	}
	return msg
}

// ask sends a request if the node is connected. It does not wait. If the node can only be
// reached through another one, and none is connected, the request fails at once.
func (k *link) ask(req zeekapi.NodeDispatchRequest) {
	client := k.connected()
	switch {
	case k.kind == mute:
		k.fail(req, errMute)
		return
	case client == nil && k.kind == relayed:
		k.fail(req, errNoRelay)
		return
	case client == nil:
		return
	}
	ev, err := k.dialect.Encode(req)
	if err == nil {
		err = broker.PublishEvent(k.ctx, client, nodescript.RequestTopic(k.node), ev)
	}
	if err != nil && k.ctx.Err() == nil {
		k.log.Warn().Err(err).Msg("cannot send a request to the node")
	}
}

// fail responds to a request for the node.
func (k *link) fail(req zeekapi.NodeDispatchRequest, why error) {
	failed := zeekapi.Result{ReqID: req.ID, Node: k.node, Error: why.Error()}
	k.events.Add(launch.Answered{Response: zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: failed}})
}
