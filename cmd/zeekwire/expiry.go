package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/alerts"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/metrics"
)

// Times of an expiryWatch.
const (
	expiryInterval = time.Hour      // between two looks at certificates
	expiryRepeat   = 24 * time.Hour // between two warnings about a certificate
)

// expiryWatch warns before certificates expire.
type expiryWatch struct {
	warnings atomic.Pointer[[]string] // about files, of the last look
	warned   map[string]time.Time     // used by look only
}

// expiring returns warnings about certificates that are about to expire.
func (o *operation) expiring() []string {
	if w := o.expiry.warnings.Load(); w != nil {
		return *w
	}
	return nil
}

// kept are the certificates that keepCertificates looks after.
type kept struct {
	files   func() []string            // with certificates of the service and of authorities
	peers   func() []*x509.Certificate // that nodes use; may be nil
	renewer *enrol.Renewer             // may be nil
	revoked *revokedWatch
}

// keepCertificates renews certificates, warns before they expire, and watches the lists of
// revoked ones, until ctx ends or stop is called, which waits for it. It also adds the
// metric of their ends.
func (o *operation) keepCertificates(ctx context.Context, k kept) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	metrics.WatchCertificates(o.registry, func() map[string]time.Time {
		ends := make(map[string]time.Time)
		for _, c := range certificates(k.files()...) {
			ends[c.Name] = c.NotAfter
		}
		return ends
	})
	running.Go(func() {
		for {
			o.lookAtExpiry(time.Now(), k.files(), k.peers)
			select {
			case <-ctx.Done():
				return
			case <-time.After(expiryInterval):
			}
		}
	})
	running.Go(func() { k.revoked.run(ctx) })
	if k.renewer != nil {
		running.Go(func() { k.renewer.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// lookAtExpiry warns about certificates in files, and about those of nodes, that are about
// to expire. A node uses the certificate that its agent had when it started.
func (o *operation) lookAtExpiry(now time.Time, files []string, peers func() []*x509.Certificate) {
	var found []string
	own := make(map[string]bool)
	for file, c := range firstCertificates(files) {
		if enrol.Soon(now, c) {
			found = append(found, fmt.Sprintf("the certificate %s expires at %s", file, c.NotAfter.UTC().Format(time.RFC3339)))
		}
		own[c.Subject.CommonName] = true
	}
	ofFiles := found
	o.expiry.warnings.Store(&ofFiles)
	if peers != nil {
		if end, n := firstToExpire(now, peers(), own); n > 0 {
			found = append(found, fmt.Sprintf("%d connections of nodes use an earlier certificate, which expires at %s: restart the nodes, or they cannot connect again", n, end.UTC().Format(time.RFC3339)))
		}
	}
	if o.expiry.warned == nil {
		o.expiry.warned = make(map[string]time.Time)
	}
	for text, at := range o.expiry.warned {
		if now.Sub(at) >= expiryRepeat || !slices.Contains(found, text) {
			delete(o.expiry.warned, text)
		}
	}
	for _, text := range found {
		if _, again := o.expiry.warned[text]; !again {
			o.expiry.warned[text] = now
			o.log.Warn().Msg(text)
		}
	}
}

// firstToExpire returns the number of certificates with one of the own names that are
// about to expire, and when the first one does.
func firstToExpire(now time.Time, peers []*x509.Certificate, own map[string]bool) (end time.Time, n int) {
	for _, c := range peers {
		if !own[c.Subject.CommonName] || !enrol.Soon(now, c) {
			continue
		}
		if n == 0 || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
		n++
	}
	return end, n
}

// certificates returns the first certificate of each file, once.
func certificates(files ...string) []alerts.Cert {
	var all []alerts.Cert
	for file, c := range firstCertificates(files) {
		all = append(all, alerts.Cert{Name: file, NotAfter: c.NotAfter})
	}
	return all
}

// firstCertificates returns the first certificate of each file, once, in the order of
// names. It omits files that cannot be read: starts and reloads report them.
func firstCertificates(files []string) iter.Seq2[string, *x509.Certificate] {
	return func(yield func(string, *x509.Certificate) bool) {
		for _, file := range slices.Compact(slices.Sorted(slices.Values(files))) {
			if c, err := firstCertificate(file); err == nil && !yield(file, c) {
				return
			}
		}
	}
}

// firstCertificate returns the first certificate in a PEM file.
func firstCertificate(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
	return nil, fmt.Errorf("%s contains no certificate", file)
}
