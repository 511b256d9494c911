package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/broker"
)

const (
	maxFile  = 1 << 20 // bytes
	minToken = 16      // characters of a token in plain text
)

// Clients are the clients that a file lists. Its methods may be called from any
// goroutine.
//
// A line of the file is a client: its name, its role, and its proof, with white
// space between them. Empty lines and those that begin with # say nothing.
//
//	alice    full       sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
//	grafana  read-only  token:a-secret-of-16-characters-or-more
//	ops-*    full       certificate
//
// A token proves the name of its line, a certificate those that are in it. The
// name of a certificate may be a pattern as of path.Match; of several lines for
// a certificate the first counts.
type Clients struct {
	path string
	list atomic.Pointer[list]
}

type list struct {
	tokens       []tokenLine
	certificates []certificateLine
	plain        bool // a token is in plain text
}

type tokenLine struct {
	name string
	role Role
	hash [sha256.Size]byte
}

// proof is what Identity.Proof says of a token. The token cannot be found by it.
func (t tokenLine) proof() string { return hex.EncodeToString(t.hash[:]) }

type certificateLine struct {
	pattern string
	role    Role
}

// ErrExposed is wrapped by the warning of Load and Reload about a file with
// tokens that other users of the machine can read.
var ErrExposed = errors.New("other users can read the tokens in it")

// Load reads a file of clients. It refuses one that other users may change. A
// warning is no failure; the error is.
func Load(path string) (clients *Clients, warning, err error) {
	c := &Clients{path: path}
	if warning, err = c.Reload(); err != nil {
		return nil, nil, err
	}
	return c, warning, nil
}

// Reload reads the file again. On an error everything stays as it was. The new
// roles count from the next request of each client on.
func (c *Clients) Reload() (warning, err error) {
	text, mode, err := read(c.path)
	if err != nil {
		return nil, fmt.Errorf("access: clients: %w", err)
	}
	l, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("access: clients: %s:%w", c.path, err)
	}
	if l.plain && mode&0o004 != 0 {
		warning = fmt.Errorf("access: clients: %s has mode %#o: %w", c.path, mode, ErrExposed)
	}
	c.list.Store(l)
	return warning, nil
}

func read(path string) (text string, mode fs.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	mode = info.Mode().Perm()
	if mode&0o022 != 0 {
		return "", 0, fmt.Errorf("%s has mode %#o: other users can change who may do what", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", 0, err
	}
	if len(b) > maxFile {
		return "", 0, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return string(b), mode, nil
}

func parse(text string) (*list, error) {
	l := new(list)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := l.add(strings.Fields(line)); err != nil {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
	}
	return l, nil
}

// add takes the fields of a line. Errors do not repeat the proof, which may be
// a secret.
func (l *list) add(fields []string) error {
	if len(fields) != 3 {
		return fmt.Errorf("%d fields, want name, role and proof", len(fields))
	}
	name, proof := fields[0], fields[2]
	role, err := ParseRole(fields[1])
	if err != nil {
		return err
	}
	kind, secret, _ := strings.Cut(proof, ":")
	switch kind {
	case "certificate":
		if proof != kind {
			return errors.New("a certificate has nothing more to tell")
		}
		if _, err := path.Match(name, ""); err != nil {
			return fmt.Errorf("name %q: %w", name, err)
		}
		l.certificates = append(l.certificates, certificateLine{name, role})
		return nil
	case "token":
		if len(secret) < minToken {
			return fmt.Errorf("the token of %q has %d characters, want %d or more", name, len(secret), minToken)
		}
		l.plain = true
		return l.addToken(tokenLine{name, role, sha256.Sum256([]byte(secret))})
	case "sha256":
		t := tokenLine{name: name, role: role}
		sum, err := hex.DecodeString(secret)
		if copy(t.hash[:], sum) != len(t.hash) || len(sum) != len(t.hash) || err != nil {
			return fmt.Errorf("the SHA-256 of %q's token is not of %d hexadecimal digits", name, 2*len(t.hash))
		}
		return l.addToken(t)
	}
	return errors.New("unknown kind of proof, want sha256:HEX, token:TEXT or certificate")
}

// addToken refuses what would leave open who somebody is: two clients with one
// token, or two roles of one client.
func (l *list) addToken(t tokenLine) error {
	for _, other := range l.tokens {
		switch {
		case other.hash == t.hash:
			return fmt.Errorf("%q has the token of %q", t.name, other.name)
		case other.name == t.name && other.role != t.role:
			return fmt.Errorf("%q is both %s and %s", t.name, other.role, t.role)
		}
	}
	l.tokens = append(l.tokens, t)
	return nil
}

// token returns the line with a token. How long that takes does not depend on
// the token.
func (l *list) token(secret string) (found tokenLine, ok bool) {
	hash := sha256.Sum256([]byte(secret))
	for _, t := range l.tokens {
		if subtle.ConstantTimeCompare(t.hash[:], hash[:]) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}

func (l *list) certificate(names []string) Role {
	for _, line := range l.certificates {
		for _, name := range names {
			if ok, _ := path.Match(line.pattern, name); ok {
				return line.role
			}
		}
	}
	return None
}

// Role implements Roles. Peers that have not proved who they are have none.
func (c *Clients) Role(p broker.Peer) Role {
	l := c.list.Load()
	switch {
	case p.Identity == nil:
		return None
	case p.Identity.Certified:
		return l.certificate(p.Identity.Names)
	}
	for _, t := range l.tokens {
		if t.name == p.Identity.Name() && t.proof() == p.Identity.Proof {
			return t.role
		}
	}
	return None
}
