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
	maxFile  = 1 << 20 // size of a file in bytes
	minToken = 16      // characters of a token in plain text
)

// Clients is a list of clients from a file. All methods may be called
// concurrently.
//
// Each line of the file describes a client by its name, role and proof of
// identity, separated by white space. Empty lines and lines that begin with #
// are ignored.
//
//	alice    full       sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
//	grafana  read-only  token:a-secret-of-16-characters-or-more
//	ops-*    full       certificate
//
// A client with a token has the name in the line, and a client with a
// certificate the names in the certificate. The name in a certificate line may
// be a pattern as in path.Match; the first line that matches a certificate
// applies.
type Clients struct {
	path string
	list atomic.Pointer[list]
}

type list struct {
	tokens       []tokenLine
	certificates []certificateLine
	plain        bool // the list contains a token in plain text
}

type tokenLine struct {
	name string
	role Role
	hash [sha256.Size]byte
}

// proof returns the value of Identity.Proof for the token. It does not reveal
// the token.
func (t tokenLine) proof() string { return hex.EncodeToString(t.hash[:]) }

type certificateLine struct {
	pattern string
	role    Role
}

// ErrExposed is wrapped by the warning of Load and Reload about a file whose
// plain-text tokens other users can read.
var ErrExposed = errors.New("other users can read its tokens")

// Load reads a file of clients. It fails if other users can change the file. A
// warning may be returned along with the clients.
func Load(path string) (clients *Clients, warning, err error) {
	c := &Clients{path: path}
	if warning, err = c.Reload(); err != nil {
		return nil, nil, err
	}
	return c, warning, nil
}

// Reload reads the file again. On an error, the clients remain unchanged. New
// roles apply from the next request of each client.
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
		return "", 0, fmt.Errorf("%s has mode %#o: other users can change the permissions", path, mode)
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
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
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

// add adds the client described by the fields of a line. Errors do not contain
// the proof, which may be a secret.
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
			return errors.New("proof \"certificate\" takes no value")
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
			return fmt.Errorf("the SHA-256 of the token of %q does not have %d hexadecimal digits", name, 2*len(t.hash))
		}
		return l.addToken(t)
	}
	return errors.New("unknown kind of proof, want sha256:HEX, token:TEXT or certificate")
}

// addToken adds a token. It rejects ambiguity: two clients with the same
// token, or two roles of one client.
func (l *list) addToken(t tokenLine) error {
	for _, other := range l.tokens {
		switch {
		case other.hash == t.hash:
			return fmt.Errorf("%q has the same token as %q", t.name, other.name)
		case other.name == t.name && other.role != t.role:
			return fmt.Errorf("%q has the roles %s and %s", t.name, other.role, t.role)
		}
	}
	l.tokens = append(l.tokens, t)
	return nil
}

// token returns the line with the given token. It takes the same time for all
// tokens.
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

// Client is a line of a file of clients, without its secret.
type Client struct {
	Name        string // a pattern of path.Match, if Certificate
	Role        Role
	Certificate bool // the client proves its name with a certificate, otherwise with a token
}

// List returns the current clients: those with tokens, then those with certificates,
// both in the order of the file.
func (c *Clients) List() []Client {
	l := c.list.Load()
	var clients []Client
	for _, t := range l.tokens {
		clients = append(clients, Client{Name: t.name, Role: t.role})
	}
	for _, line := range l.certificates {
		clients = append(clients, Client{Name: line.pattern, Role: line.role, Certificate: true})
	}
	return clients
}

// Role implements Roles. A peer without proof of identity has the role None.
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
