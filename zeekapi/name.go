package zeekapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// MaxNameSize is the largest length of the name of a node or an instance, in bytes.
// Directories and files have these names.
const MaxNameSize = 255

// CheckName returns an error if name cannot be the name of a node or an instance,
// because it is not a valid file name or would need quoting in a script.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > MaxNameSize:
		return fmt.Errorf("name of %d bytes, limit is %d", len(name), MaxNameSize)
	case name == "." || name == "..",
		strings.ContainsFunc(name, func(r rune) bool {
			return r == '/' || r == '\\' || r == '"' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
		}):
		return fmt.Errorf("name %q: want printable characters other than spaces, slashes and quotes", name)
	}
	return nil
}

// ValidSite reports whether id has the form of a Configuration.Site that names a
// site: a SHA-256 in lower-case hexadecimal digits.
func ValidSite(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == id
}
