// Package zeekapi is the vocabulary of Zeek's cluster management in neutral
// form: instances, nodes, configurations, results, and the messages that
// clients, controllers, agents and nodes exchange.
//
// Zeek speaks these in two dialects, Management::* (Zeek 5.0 and later,
// package zeekapi/management) and Cluster{Agent,Controller}::* (package
// zeekapi/clusteragent). A Dialect turns a message into an event of Broker and
// back; controller, agent and client only know the messages.
//
// Package broker/record maps the structs of this package to Zeek's records.
package zeekapi
