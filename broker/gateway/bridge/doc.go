// Package bridge connects gateways by NATS JetStream, for sites with more readers than one
// machine can serve, and for programs that read NATS.
//
// A Bridge publishes the messages of its gateway to a stream, and passes on those of the
// stream that other gateways published.
//
// # Messages
//
// A message in the stream has one or more messages of the same topic, each on a line, in the
// JSON of Zeek's WebSocket protocol. Only messages that wait share one, so under load one
// message has many lines. These are its headers:
//
//	Nats-Msg-Id       the ID of the first message, by which the stream recognizes repetitions
//	Zeekwire-Gateway  the process of the gateway that published it
//	Zeekwire-Zeek     the name of the Zeek; missing if readers published the messages
//
// The subject is the prefix and the topic, see Subject.
//
// # Delivery
//
// Messages wait in a queue of limited memory until the stream has confirmed them. A message
// without confirmation is sent again, also after a break of the connection. The stream
// discards repetitions for as long as its window for duplicates. So it has each message at
// least once, and usually once. Each topic has at most one unconfirmed message on the way, so
// the order of each topic is kept. Messages are dropped, and counted, only if they find no
// place in the queue, or are larger than the server accepts.
//
// The other way, a Bridge reads from where it was, in the order of the stream. It begins with
// the messages that are published after it has connected for the first time.
package bridge
