package authority

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// Files of an authority in its directory.
const (
	certificateFile = "ca.pem"
	keyFile         = "ca-key.pem"
	registerFile    = "register.json"
	revokedFile     = "revoked.pem"
	lockFile        = "lock"
)

// register is what an authority remembers: the content of registerFile.
type register struct {
	Format      int           `json:"format"`
	Host        string        `json:"controller"`  // at which machines reach the controller
	Lifetime    time.Duration `json:"lifetime_ns"` // of certificates
	Revision    int64         `json:"revision"`    // of the list of revoked certificates
	Invitations []invitation  `json:"invitations"`
	Issued      []issued      `json:"issued"`
}

// registerFormat is the present register.Format.
const registerFormat = 1

// invitation permits the holder of a secret to have one certificate.
type invitation struct {
	Subject
	Hash    string    `json:"secret_sha256"` // hexadecimal
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Used    *use      `json:"used,omitempty"`
}

// use is the use of an invitation. The same key gets the same certificate again, because
// a response may get lost.
type use struct {
	Key         string `json:"key_sha256"`
	Certificate []byte `json:"certificate"`
}

// issued is a certificate that has been issued.
type issued struct {
	Kind    Kind       `json:"kind"`
	Name    string     `json:"name"`
	Hosts   []string   `json:"hosts,omitempty"`
	Serial  string     `json:"serial"` // hexadecimal
	Expires time.Time  `json:"expires"`
	Revoked *time.Time `json:"revoked,omitempty"`
}

// remembered is the time for which expired entries are kept, so that errors can tell
// what happened.
const remembered = 24 * time.Hour

// Limits of the register.
const (
	maxRegister = 64 << 20
	maxWaiting  = 20_000 // unused invitations
	maxValid    = 16     // certificates of one name that have not expired
)

// prune removes entries that have expired long ago.
func (r *register) prune(now time.Time) {
	old := func(expires time.Time) bool { return now.Sub(expires) > remembered }
	r.Invitations = slices.DeleteFunc(r.Invitations, func(i invitation) bool { return old(i.Expires) })
	r.Issued = slices.DeleteFunc(r.Issued, func(c issued) bool { return old(c.Expires) })
}

// check returns an error if a certificate for s would prove a name of another subject.
func (r *register) check(now time.Time, s Subject) error {
	conflict := func(other Subject) error {
		switch {
		case other.Name == s.Name && other.Kind == s.Kind:
			return nil
		case other.Name == s.Name,
			// A controller may be anything, and may be on the machine of an agent.
			s.Kind != Controller && slices.Contains(s.Hosts, other.Name),
			other.Kind != Controller && slices.Contains(other.Hosts, s.Name):
			return fmt.Errorf("%w: the %s %s and the %s %s", ErrNames, s.Kind, s.Name, other.Kind, other.Name)
		}
		return nil
	}
	for _, i := range r.Invitations {
		if i.Used == nil && now.Before(i.Expires) {
			if err := conflict(i.Subject); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Issued {
		if c.Revoked == nil && now.Before(c.Expires) {
			if err := conflict(Subject{c.Kind, c.Name, c.Hosts}); err != nil {
				return err
			}
		}
	}
	return nil
}

// valid returns the number of certificates for a name that have neither expired nor been
// revoked.
func (r *register) valid(now time.Time, name string) (n int) {
	for _, c := range r.Issued {
		if c.Name == name && c.Revoked == nil && now.Before(c.Expires) {
			n++
		}
	}
	return n
}

// find returns the certificate with a serial number, or nil.
func (r *register) find(serial string) *issued {
	i := slices.IndexFunc(r.Issued, func(c issued) bool { return c.Serial == serial })
	if i < 0 {
		return nil
	}
	return &r.Issued[i]
}

// update calls change with the register and stores what it has changed, unless change
// returns an error. No other process changes the register meanwhile.
func (a *Authority) update(now time.Time, change func(*register) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	unlock, err := lock(filepath.Join(a.dir, lockFile), a.owner)
	if err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	defer unlock()
	r, err := a.read()
	if err != nil {
		return err
	}
	before, err := json.Marshal(r)
	if err != nil {
		return err
	}
	r.prune(now)
	if err := change(r); err != nil {
		return err
	}
	if after, err := json.Marshal(r); err != nil || bytes.Equal(before, after) {
		return err
	}
	return a.write(r)
}

// read reads the register.
func (a *Authority) read() (*register, error) {
	name := filepath.Join(a.dir, registerFile)
	text, err := readLimited(name, maxRegister)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	r := new(register)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("authority: %s: %w", name, err)
	}
	if r.Format != registerFormat {
		return nil, fmt.Errorf("authority: %s has the format %d, this version has %d", name, r.Format, registerFormat)
	}
	return r, nil
}

func (a *Authority) write(r *register) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := ownedfile.Write(filepath.Join(a.dir, registerFile), append(text, '\n'), 0o600, a.owner); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	return nil
}

// lock waits for the lock that a file stands for.
func lock(name string, owner ownedfile.Owner) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := ownedfile.Create(name, nil, 0o600, owner); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return text, err
}
