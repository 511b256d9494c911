package clientcmd

import (
	"context"

	"github.com/zeekwire/zeekwire/broker"
)

// tracer is a bus that prints the messages that it sends and receives.
type tracer struct {
	broker.Bus
	messages
}

func (t *tracer) Publish(ctx context.Context, topic string, v broker.Value) error {
	t.log(showTraffic, "debug", "sending to %s: %s", topic, eventText(v))
	return t.Bus.Publish(ctx, topic, v)
}

func (t *tracer) Next(ctx context.Context) (broker.Notification, error) {
	n, err := t.Bus.Next(ctx)
	switch n := n.(type) {
	case broker.Received:
		t.log(showTraffic, "debug", "received on %s: %s", n.Message.Topic, eventText(n.Message.Value))
	case broker.PeerLost:
		t.log(showTraffic, "debug", "lost the controller: %v", n.Err)
	}
	return n, err
}
