package access

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Role is the permission of a client. The zero Role is None.
type Role uint8

// The roles.
const (
	None     Role = iota // no requests
	ReadOnly             // requests that change nothing
	Full                 // all requests
)

var roleNames = [...]string{"none", "read-only", "full"}

// String returns the name of the role, such as "read-only".
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return "role(?)"
	}
	return roleNames[r]
}

// May reports whether a client with the role may make requests with this effect.
func (r Role) May(e zeekapi.Effect) bool { return r == Full || r == ReadOnly && e == zeekapi.Reads }

// ParseRole returns the role named "read-only" or "full".
func ParseRole(name string) (Role, error) {
	for r := ReadOnly; r <= Full; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return None, fmt.Errorf("unknown role %q, want read-only or full", name)
}

// Roles maps peers to their roles. It must be safe for concurrent use.
type Roles interface {
	Role(broker.Peer) Role
}

// Everybody is a Roles that assigns the same role to every peer.
type Everybody Role

// Role implements Roles.
func (e Everybody) Role(broker.Peer) Role { return Role(e) }
