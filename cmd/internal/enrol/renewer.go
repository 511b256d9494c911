package enrol

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// Times of a Renewer.
const (
	lookInterval = time.Hour   // between two looks at files and lists
	firstRetry   = time.Minute // after a failure; it doubles with every one
	minRetry     = time.Second
)

// DueAt returns when a certificate is to be renewed: after two thirds of its lifetime.
func DueAt(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// soonTime is the time before the end of a certificate from which on people are warned. For
// short lifetimes it is a quarter of them.
const soonTime = 14 * 24 * time.Hour

// Soon reports whether a certificate is about to expire, or has expired. It should have
// been renewed before.
func Soon(now time.Time, c *x509.Certificate) bool {
	return EndsSoon(now, c.NotAfter, c.NotAfter.Sub(c.NotBefore))
}

// EndsSoon is Soon for a certificate that is not at hand.
func EndsSoon(now, end time.Time, lifetime time.Duration) bool {
	return end.Sub(now) < min(soonTime, lifetime/4)
}

// Renewer keeps certificates valid. It replaces each file, which contains a certificate
// and its key, after two thirds of the certificate's lifetime.
type Renewer struct {
	// Files are the files to look at. It is called again each time.
	Files func() []string

	// Renew gets a new certificate.
	Renew func(ctx context.Context, old tls.Certificate) (Pair, error)

	// Look, if non-nil, is called every hour, and reports whether it has changed a
	// file.
	Look func(ctx context.Context) (changed bool, err error)

	// Changed is called when files have changed.
	Changed func() error

	Log zerolog.Logger
}

// Run renews certificates until ctx ends.
func (r *Renewer) Run(ctx context.Context) {
	retry := time.Duration(0)
	var looked time.Time
	for {
		now := time.Now()
		changed, next, err := r.renewDue(ctx, now)
		if r.Look != nil && (looked.IsZero() || now.Sub(looked) >= lookInterval || err != nil) {
			fresh, lookErr := r.Look(ctx)
			changed = changed || fresh
			if lookErr == nil {
				looked = now
			} else if err == nil {
				err = lookErr
			}
		}
		if changed {
			if reloadErr := r.Changed(); reloadErr != nil {
				r.Log.Error().Err(reloadErr).Msg("cannot use the new certificates")
			}
		}
		pause := min(lookInterval, max(minRetry, next.Sub(now)))
		if err != nil {
			// What is left of the lifetime must suffice for many attempts.
			retry = min(max(firstRetry, 2*retry), lookInterval, max(minRetry, next.Sub(now)/16))
			pause = retry
			r.Log.Warn().Err(err).Stringer("retry-in", pause.Round(time.Second)).Msg("cannot renew certificates")
		} else {
			retry = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// renewDue renews the certificates that are due. It returns when it is to be called
// again, or, with an error, when the first certificate that it could not renew expires.
func (r *Renewer) renewDue(ctx context.Context, now time.Time) (changed bool, next time.Time, err error) {
	next = now.Add(lookInterval)
	fail := func(file string, deadline time.Time, failure error) {
		if err == nil || deadline.Before(next) {
			err, next = fmt.Errorf("%s: %w", file, failure), deadline
		}
	}
	for _, file := range r.Files() {
		old, loadErr := security.LoadCertificate(file, file, "")
		if loadErr != nil {
			fail(file, now.Add(lookInterval), loadErr)
			continue
		}
		leaf := old.Leaf
		if !now.Before(DueAt(leaf)) {
			renewed, renewErr := r.replace(ctx, file, old)
			if renewErr != nil {
				fail(file, leaf.NotAfter, renewErr)
				continue
			}
			leaf, changed = renewed, true
		}
		if due := DueAt(leaf); err == nil && due.Before(next) {
			next = due
		}
	}
	return changed, next, err
}

// replace replaces a certificate and its key, and returns the new one.
func (r *Renewer) replace(ctx context.Context, file string, old tls.Certificate) (*x509.Certificate, error) {
	p, err := r.Renew(ctx, old)
	if err != nil {
		return nil, err
	}
	text, err := p.PEM()
	if err != nil {
		return nil, err
	}
	if err := ownedfile.Replace(file, text, 0o600); err != nil {
		return nil, err
	}
	r.Log.Info().Str("file", file).Strs("names", security.CertificateNames(p.Leaf)).Time("expires", p.Leaf.NotAfter).Msg("certificate renewed")
	return p.Leaf, nil
}

// UpdateFile writes text to a file that exists, unless it has this content already.
func UpdateFile(file string, text []byte) (changed bool, err error) {
	before, err := os.ReadFile(file)
	if err != nil || bytes.Equal(before, text) {
		return false, err
	}
	return true, ownedfile.Replace(file, text, 0o644)
}
