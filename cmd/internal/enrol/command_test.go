package enrol_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
)

// certificateOf writes the certificate of a client, with its key, that was issued some time
// ago. It is valid for an hour.
func (c *cluster) certificateOf(t *testing.T, age time.Duration) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "client.pem")
	text := issue(t, c.Authority, authority.Subject{Kind: authority.Client, Name: "alice"}, time.Now().Add(-age))
	if err := os.WriteFile(file, text, 0o400); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Of many commands at the same time, one renews the certificate.
func TestRenewIfDue(t *testing.T) {
	c := newCluster(t)
	for name, test := range map[string]struct {
		age     time.Duration
		renewed int32
	}{"due": {50 * time.Minute, 1}, "early": {30 * time.Minute, 0}, "expired": {2 * time.Hour, 0}} {
		t.Run(name, func(t *testing.T) {
			file := c.certificateOf(t, test.age)
			link := filepath.Join(t.TempDir(), "link.pem")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			before, joined := read(t, file), c.joined.Load()
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					client := &enrol.Client{Address: c.address(), Authority: c.PEM()}
					if err := client.RenewIfDue(t.Context(), time.Now(), link); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if n := c.joined.Load() - joined; n != test.renewed || (read(t, file) != before) != (n > 0) {
				t.Errorf("renewed %d times, want %d", n, test.renewed)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o400 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
				t.Errorf("the link is replaced: %v, %v", info.Mode(), err)
			}
			if pair, err := security.LoadCertificate(link, link, ""); err != nil || pair.Leaf.Subject.CommonName != "alice" {
				t.Error(err)
			}
		})
	}
}

// After an attempt that fails, there is none for a while.
func TestRenewIfDueIsPatient(t *testing.T) {
	c := newCluster(t)
	file := c.certificateOf(t, 50*time.Minute) // ten minutes are left
	client := &enrol.Client{Address: c.address(), Authority: newCluster(t).PEM()}
	now := time.Now()
	attempt := func(at time.Duration) error { return client.RenewIfDue(t.Context(), now.Add(at), file) }
	if err := attempt(0); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	if err := attempt(30 * time.Second); err != nil {
		t.Errorf("a second attempt after 30 s: %v", err)
	}
	if err := attempt(40 * time.Second); err == nil {
		t.Error("no second attempt")
	}
	client.Authority = c.PEM()
	if err := attempt(-time.Minute); err != nil { // the clock was set back
		t.Error(err)
	}
	if c.joined.Load() != 1 {
		t.Errorf("renewed %d times", c.joined.Load())
	}
	if text := read(t, file+".lock"); text != "" {
		t.Errorf("the lock contains %q", text)
	}
}

func TestRenewIfDueWithoutFile(t *testing.T) {
	err := new(enrol.Client).RenewIfDue(t.Context(), time.Now(), filepath.Join(t.TempDir(), "client.pem"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
