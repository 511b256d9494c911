// Package gateway passes the messages of Zeeks on to many readers, and messages of
// those that may publish to the Zeeks.
//
// A Gateway has one connection to each Zeek, any broker.Bus. Its readers connect with
// Zeek's WebSocket protocol, for which Gateway.WebSocket is a server, or by HTTP:
//
//	GET  /v1/events?topic=PREFIX&event=NAME   Server-Sent Events, see Gateway.ServeHTTP
//	POST /v1/messages                         a message to publish
//	GET  /v1/messages/json                    WebSockets
//
// A message is encoded once for each of the two forms, whatever the number of readers.
// The messages of the last time are in a ring, in which each reader of Server-Sent
// Events has a position. So a reader takes no memory for messages of its own, a slow one
// does not delay the others, and one that connects again continues at its last position.
//
// The limits are those of one process: see docs/howto/gateway.md for measurements.
package gateway
