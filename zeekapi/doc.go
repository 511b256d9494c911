// Package zeekapi is the neutral model of Zeek's cluster management: instances,
// nodes, configurations, results, and the messages that clients, controllers,
// agents and nodes exchange.
//
// Zeek uses two dialects for these messages: Management::* (Zeek 5.0 and later,
// package zeekapi/management) and Cluster{Agent,Controller}::* (package
// zeekapi/clusteragent). Package zeekapi/operations has messages of our own. A
// [Dialect] translates between messages and Broker events. Controllers, agents and
// clients know only messages.
//
// Each request is declared once, as a [Request], next to the types of its
// messages. To add a request, declare it in this package and write a handler for
// it in the role that serves it.
//
// Package broker/record maps the structs of this package to Zeek's records.
package zeekapi
