package broker

import "strconv"

// Kind is the type of a Value, one of Broker's 15. The zero Kind is KindNone.
// The numbers are those of the encodings, and values of different kinds are
// ordered by them (Broker: variant_tag).
type Kind uint8

// The kinds, in the order of their numbers.
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

// kindNames holds the values of the "@data-type" member in Broker's JSON.
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

// KindByName returns the kind with the given name, as returned by Kind.String.
// The result ok is false if there is none.
func KindByName(name string) (k Kind, ok bool) {
	if name == "" {
		return 0, false
	}
	for _, k := range kindsByByte[name[0]] {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// kindsByByte holds the kinds by the first byte of their names.
var kindsByByte = func() (all [256][]Kind) {
	for k, name := range kindNames {
		all[name[0]] = append(all[name[0]], Kind(k))
	}
	return all
}()

// Protocol is the transport protocol of a Port (Broker: port::protocol).
type Protocol uint8

// The protocols, in the order of their numbers.
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

// String returns "tcp", "udp" or "icmp", and "?" for ProtocolUnknown.
func (p Protocol) String() string {
	if !p.Valid() {
		return "protocol(" + strconv.Itoa(int(p)) + ")"
	}
	return protocolNames[p]
}
