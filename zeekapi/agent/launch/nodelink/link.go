package nodelink

import (
	"context"
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
		node: node, route: r, dialect: l.dialect, events: &l.events,
		log: l.log.With().Str("node", node).Str("address", r.address).Logger(), done: make(chan struct{}),
	}
	k.ctx, k.cancel = context.WithCancel(l.ctx)
	return k
}

// run connects repeatedly until the link ends.
func (k *link) run() {
	defer close(k.done)
	defer k.cancel()
	if k.mute {
		k.awaitPort()
		return
	}
	for k.ctx.Err() == nil {
		client, err := websocket.Dial(k.ctx, websocket.ClientConfig{
			Address:         k.address,
			Subscriptions:   []string{nodescript.ResponseTopic(k.node)},
			ApplicationName: "zeekwire-agent",
		})
		if err == nil {
			k.use(client)
			k.receive(client)
			k.use(nil)
			err = client.Close()
		}
		k.log.Debug().AnErr("reason", err).Msg("not connected to the node")
		select {
		case <-time.After(retry):
		case <-k.ctx.Done():
		}
	}
}

// awaitPort waits until the node listens at its port.
func (k *link) awaitPort() {
	var d net.Dialer
	for k.ctx.Err() == nil {
		if conn, err := d.DialContext(k.ctx, "tcp", k.address); err == nil {
			conn.Close()
			k.events.Add(launch.Up{Node: k.node})
			return
		}
		select {
		case <-time.After(retry):
		case <-k.ctx.Done():
		}
	}
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
				k.events.Add(launch.Up{Node: k.node})
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

// ask sends a request if the node is connected. It does not wait.
func (k *link) ask(req zeekapi.NodeDispatchRequest) {
	if k.mute {
		failed := zeekapi.Result{ReqID: req.ID, Node: k.node, Error: "a logger with ZeroMQ and without Broker accepts no requests"}
		k.events.Add(launch.Answered{Response: zeekapi.NodeDispatchResponse{ReqID: req.ReqID, Result: failed}})
		return
	}
	k.mu.Lock()
	client := k.client
	k.mu.Unlock()
	if client == nil {
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
