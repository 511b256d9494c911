package zeekapi

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// MaxNameSize is the largest name of a node or an instance, in bytes. Names are
// names of directories and files.
const MaxNameSize = 255

// CheckName refuses a name of a node or an instance that cannot name a
// directory or would read badly in a script.
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
