package access

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
)

// Role says what a client may do.
type Role uint8

// The roles.
const (
	None     Role = iota // nothing
	ReadOnly             // ask
	Full                 // ask and change
)

var roleNames = [...]string{"none", "read-only", "full"}

// String returns the role's name, such as "read-only".
func (r Role) String() string {
	if int(r) >= len(roleNames) {
		return "role(?)"
	}
	return roleNames[r]
}

// ParseRole returns the role called "read-only" or "full".
func ParseRole(name string) (Role, error) {
	for r := ReadOnly; r <= Full; r++ {
		if r.String() == name {
			return r, nil
		}
	}
	return None, fmt.Errorf("unknown role %q, want read-only or full", name)
}

// Roles knows what peers may do as clients. It is safe for concurrent use.
type Roles interface {
	Role(broker.Peer) Role
}

// Everybody gives all peers the same role, whoever they are.
type Everybody Role

// Role implements Roles.
func (e Everybody) Role(broker.Peer) Role { return Role(e) }
