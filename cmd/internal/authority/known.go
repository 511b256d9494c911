package authority

import (
	"os"
	"path/filepath"
	"sync"
	"time"
)

// known caches the register for questions that strangers can ask as often as they like.
type known struct {
	mu       sync.Mutex
	modified time.Time
	size     int64
	register *register
}

// Knows reports whether there is, or was, an invitation with a secret. It is cheap.
func (a *Authority) Knows(secret string) (bool, error) {
	r, err := a.cached()
	if err != nil {
		return false, err
	}
	return r.invitation(hashOf([]byte(secret))) != nil, nil
}

// cached returns the register, which it reads if the file has changed. It must not be
// changed.
func (a *Authority) cached() (*register, error) {
	k := &a.known
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(filepath.Join(a.dir, registerFile))
	if err != nil {
		return nil, err
	}
	// A file that is a moment old may be replaced within the same tick of its time.
	fresh := time.Since(info.ModTime()) < time.Second
	if k.register != nil && !fresh && info.Size() == k.size && info.ModTime().Equal(k.modified) {
		return k.register, nil
	}
	r, err := a.read()
	if err != nil {
		return nil, err
	}
	k.modified, k.size, k.register = info.ModTime(), info.Size(), r
	return r, nil
}

// Held describes a certificate that was the newest of its name at some time.
type Held struct {
	Expires  time.Time
	Lifetime time.Duration
	Newest   bool // no later one has been issued for the name
}

// At returns, for each name, the certificate that was the newest at the given time. It
// omits names without one, and those whose certificate expired more than a day ago.
func (a *Authority) At(times map[string]time.Time) (map[string]Held, error) {
	r, err := a.cached()
	if err != nil {
		return nil, err
	}
	held, later := make(map[string]Held), make(map[string]bool)
	for _, c := range r.Issued {
		at, wanted := times[c.Name]
		switch {
		case !wanted:
		case c.Expires.Add(-r.Lifetime).After(at):
			later[c.Name] = true
		case c.Expires.After(held[c.Name].Expires):
			held[c.Name] = Held{Expires: c.Expires, Lifetime: r.Lifetime}
		}
	}
	for name, h := range held {
		h.Newest = !later[name]
		held[name] = h
	}
	return held, nil
}
