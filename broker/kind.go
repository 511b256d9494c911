package broker

import "strconv"

// Kind says which of Broker's 15 types a Value has. The numbers are those of
// the wire, and values of different kinds are ordered by them
// (Broker: variant_tag).
type Kind uint8

// The kinds, in wire order.
const (
	KindNone Kind = iota
	KindBoolean
	KindCount
	KindInteger
	KindReal
	KindString
	KindAddress
	KindSubnet
	KindPort
	KindTimestamp
	KindTimespan
	KindEnum
	KindSet
	KindTable
	KindVector

	numKinds
)

// The names are those of the "@data-type" member in Broker's JSON.
var kindNames = [numKinds]string{
	"none", "boolean", "count", "integer", "real", "string", "address",
	"subnet", "port", "timestamp", "timespan", "enum-value", "set", "table",
	"vector",
}

// Valid reports whether k is one of the 15 kinds.
func (k Kind) Valid() bool { return k < numKinds }

// String returns the name that Broker's JSON uses for k, such as "enum-value".
func (k Kind) String() string {
	if !k.Valid() {
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// KindByName is the inverse of Kind.String.
func KindByName(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// Protocol is the transport protocol of a Port (Broker: port::protocol).
type Protocol uint8

// The protocols, in wire order.
const (
	ProtocolUnknown Protocol = iota
	ProtocolTCP
	ProtocolUDP
	ProtocolICMP

	numProtocols
)

var protocolNames = [numProtocols]string{"?", "tcp", "udp", "icmp"}

// Valid reports whether p is one of the four protocols.
func (p Protocol) Valid() bool { return p < numProtocols }

// String returns "tcp", "udp", "icmp" or "?".
func (p Protocol) String() string {
	if !p.Valid() {
		return "protocol(" + strconv.Itoa(int(p)) + ")"
	}
	return protocolNames[p]
}
