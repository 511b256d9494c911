package clientcmd

import (
	"context"

	"github.com/zeekwire/zeekwire/broker"
)

// tracer is a bus that prints its messages.
type tracer struct {
	broker.Bus
	messages
}

func (t *tracer) Publish(ctx context.Context, topic string, v broker.Value) error {
	t.say(showTraffic, "debug", "sending to %s: %s", topic, eventText(v))
	return t.Bus.Publish(ctx, topic, v)
}

func (t *tracer) Next(ctx context.Context) (broker.Notification, error) {
	n, err := t.Bus.Next(ctx)
	switch n := n.(type) {
	case broker.Received:
		t.say(showTraffic, "debug", "received on %s: %s", n.Message.Topic, eventText(n.Message.Value))
	case broker.PeerLost:
		t.say(showTraffic, "debug", "lost the controller: %v", n.Err)
	}
	return n, err
}
