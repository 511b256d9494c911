// Package broker defines the data model of Zeek's Broker: values of 15 kinds,
// the messages that Zeek builds from them (events, log records, batches),
// topics, and buses that carry messages.
//
// The package does no I/O and has no encoding. Package broker/bin encodes
// values for native peers and broker/jsonv1 encodes them for WebSocket
// connections. The transports are broker/peering and broker/websocket.
//
// Values, messages and filters are immutable by convention and may be used
// concurrently.
package broker
