package enrol

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// keeper is a file with a certificate, and the authority that renews it.
type keeper struct {
	*authority.Authority
	file string
}

// newKeeper returns a keeper of a certificate with a lifetime.
func newKeeper(t *testing.T, lifetime time.Duration) keeper {
	t.Helper()
	dir := t.TempDir()
	a, err := authority.Create(filepath.Join(dir, "authority"), "h", lifetime, ownedfile.Own(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k := keeper{a, filepath.Join(dir, "agent.pem")}
	p, err := Issue(a, time.Now(), authority.Subject{Kind: authority.Agent, Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k keeper) renew(_ context.Context, old tls.Certificate) (Pair, error) {
	key, request, err := NewRequest("x")
	if err != nil {
		return Pair{}, err
	}
	leaf, err := k.Renew(time.Now(), old.Leaf, request)
	return Pair{leaf, key}, err
}

func (k keeper) expires(t *testing.T) time.Time {
	t.Helper()
	return mustLoad(t, k.file).NotAfter
}

// A certificate never expires while its authority can be reached, even if it cannot for
// some time. It is renewed about once in two thirds of its lifetime.
func TestRenewer(t *testing.T) {
	for name, test := range map[string]struct {
		lifetime, away time.Duration // away: for which renewals fail when the first one is due
		want           [2]int        // renewals in three lifetimes
	}{
		"month":                {30 * 24 * time.Hour, 0, [2]int{4, 5}},
		"month, away for days": {30 * 24 * time.Hour, 9 * 24 * time.Hour, [2]int{4, 5}},
		"day":                  {24 * time.Hour, 0, [2]int{4, 6}},
		"minute":               {time.Minute, 0, [2]int{4, 6}},
		"minute, away":         {time.Minute, 15 * time.Second, [2]int{4, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKeeper(t, test.lifetime)
				renewed, changed := 0, 0
				back := DueAt(mustLoad(t, k.file)).Add(test.away)
				r := &Renewer{
					Files: func() []string { return []string{k.file} },
					Renew: func(ctx context.Context, old tls.Certificate) (Pair, error) {
						if test.away > 0 && time.Now().Before(back) {
							return Pair{}, errors.New("controller is away")
						}
						if time.Now().After(old.Leaf.NotAfter) {
							t.Error("the certificate has expired")
						}
						renewed++
						return k.renew(ctx, old)
					},
					Changed: func() error { changed++; return nil },
					Log:     zerolog.Nop(),
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*test.lifetime)
				defer cancel()
				r.Run(ctx)
				if renewed != changed || renewed < test.want[0] || renewed > test.want[1] {
					t.Errorf("%d renewals, %d reloads, want %v", renewed, changed, test.want)
				}
				if !k.expires(t).After(time.Now()) {
					t.Error("the certificate has expired")
				}
				if info, err := os.Stat(k.file); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, %v", info.Mode(), err)
				}
			})
		})
	}
}

// A controller that refuses is not asked more often than necessary.
func TestRenewerIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, 9*24*time.Hour)
		attempts := 0
		r := &Renewer{
			Files:   func() []string { return []string{k.file} },
			Renew:   func(context.Context, tls.Certificate) (Pair, error) { attempts++; return Pair{}, errors.New("refused") },
			Changed: func() error { t.Error("nothing has changed"); return nil },
			Log:     zerolog.Nop(),
		}
		ctx, cancel := context.WithDeadline(t.Context(), DueAt(mustLoad(t, k.file)).Add(24*time.Hour))
		defer cancel()
		r.Run(ctx)
		if attempts < 20 || attempts > 40 {
			t.Errorf("%d attempts in a day", attempts)
		}
	})
}

// The list of revoked certificates is fetched every hour, and its failures do not keep a
// certificate from being renewed.
func TestRenewerLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, 24*time.Hour)
		looks, changed := 0, 0
		r := &Renewer{
			Files: func() []string { return []string{k.file, filepath.Join(filepath.Dir(k.file), "missing.pem")} },
			Renew: k.renew,
			Look: func(context.Context) (bool, error) {
				looks++
				if looks > 5 {
					return false, errors.New("away")
				}
				return looks == 2, nil
			},
			Changed: func() error { changed++; return fmt.Errorf("a reload may fail") },
			Log:     zerolog.Nop(),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		r.Run(ctx)
		if looks < 20 || changed < 2 || !k.expires(t).After(time.Now()) {
			t.Errorf("%d looks, %d changes", looks, changed)
		}
	})
}

func mustLoad(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	pair, err := security.LoadCertificate(file, file, "")
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestUpdateFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if _, err := UpdateFile(name, []byte("x")); err == nil {
		t.Error("a file is made that does not exist")
	}
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false} {
		text := "x"
		if i > 0 {
			text = "y"
		}
		if changed, err := UpdateFile(name, []byte(text)); changed != want || err != nil {
			t.Errorf("%d: %v, %v", i, changed, err)
		}
	}
}
