package zeekapi

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
)

// Fingerprint identifies the content of a configuration, unlike its ID, which clients
// choose: two configurations have the same fingerprint only if they are equal, except for
// the order of instances and nodes. It is "" if c cannot be encoded.
func (c Configuration) Fingerprint() string {
	v, err := record.Marshal(c)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(bin.Append(nil, v))
	return hex.EncodeToString(sum[:16])
}
