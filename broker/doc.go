// Package broker is the vocabulary of Zeek's Broker: values of 15 kinds,
// the messages that Zeek builds from them (events, logs, batches), topics and
// errors.
//
// The package does no I/O and knows no encoding. The two encodings live in
// broker/bin (native peers) and broker/jsonv1 (WebSocket), the transports in
// broker/peering and broker/websocket.
//
// Everything here is safe for concurrent use, because nothing here changes
// once it is made.
package broker
