package bridge

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// receive passes on the messages of other gateways until ctx ends.
func (b *Bridge) receive(ctx context.Context) {
	topics := broker.NewFilter(b.cfg.Topics...)
	for ctx.Err() == nil {
		if err := b.read(ctx, topics); err != nil && ctx.Err() == nil {
			b.notices.Warn("reading").Err(err).Msg("cannot read from NATS, trying again")
		}
		select {
		case <-time.After(reconnectWait):
		case <-ctx.Done():
		}
	}
}

// read reads from the stream until an error, the end of the connection, or a gap. The caller
// then reads again with another consumer: only consume notices that messages were removed
// meanwhile, or that the stream is another one.
func (b *Bridge) read(ctx context.Context, topics broker.Filter) error {
	connected, cancel := context.WithCancel(ctx) // deliveries do not end with the connection
	defer cancel()
	b.mu.Lock()
	b.reopen = cancel
	b.mu.Unlock()
	consumer, err := b.consume(connected)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for next := uint64(1); ; next++ {
		msg, err := messages.Next(jetstream.NextContext(connected))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != next {
			return fmt.Errorf("message %d of the consumer came in place of %d", meta.Sequence.Consumer, next)
		}
		if msg.Headers().Get(headerGateway) != b.cfg.Gateway {
			b.deliver(ctx, topics, msg)
		}
		b.mu.Lock()
		b.position = meta.Sequence.Stream
		b.mu.Unlock()
	}
}

// consume returns a consumer that continues after the last message that was read. The first
// time, it begins with the next message of the stream.
func (b *Bridge) consume(ctx context.Context) (jetstream.Consumer, error) {
	stream, err := b.ensure(ctx)
	if err != nil {
		return nil, err
	}
	return stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: patterns(b.cfg.Prefix, b.cfg.Topics), DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: b.begin(stream.CachedInfo()), AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerLinger,
	})
}

// begin returns the position from which on the stream is read.
func (b *Bridge) begin(stream *jetstream.StreamInfo) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, created := stream.State, b.created
	b.created = stream.Created
	switch {
	case created.IsZero():
		b.position = state.LastSeq
	case !created.Equal(stream.Created), state.LastSeq < b.position:
		b.cfg.Log.Warn().Msg("the stream in NATS is another one, and read from its beginning")
		b.position = 0
	case state.FirstSeq > b.position+1:
		removed := state.FirstSeq - b.position - 1
		b.stats.Removed += removed
		b.cfg.Log.Warn().Uint64("messages", removed).Msg("the stream in NATS has removed messages before they were read")
	}
	return b.position + 1
}

// deliver passes on the messages in the lines of a message.
func (b *Bridge) deliver(ctx context.Context, topics broker.Filter, msg jetstream.Msg) {
	zeek := msg.Headers().Get(headerZeek)
	if name, err := url.PathUnescape(zeek); err == nil {
		zeek = name
	}
	for line := range bytes.SplitSeq(msg.Data(), []byte("\n")) {
		frame, err := jsonv1.Decode(line)
		data, ok := frame.(jsonv1.Data)
		switch {
		case err != nil || !ok || data.Topic == "" || data.Topic == broker.ControlTopic:
			b.notices.Warn("unreadable").Err(err).Str("subject", msg.Subject()).Msg("a message in NATS is not in the JSON of Zeek's WebSocket protocol")
		case topics.Matches(data.Topic):
			b.mu.Lock()
			b.stats.Received++
			b.mu.Unlock()
			b.cfg.Deliver(ctx, zeek, broker.Message(data))
		}
	}
}
