package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

const day = 24 * time.Hour

// valid returns a change for Issue that sets the lifetime of a certificate.
func valid(from, until time.Time) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }
}

// The log warns of a certificate that is about to expire once a day, and of one in use by
// nodes.
func TestExpiryWarnings(t *testing.T) {
	now := time.Now()
	a := certtest.New(t)
	late, _ := a.Issue(t, "late", valid(now.Add(-300*day), now.Add(10*day)))
	good, _ := a.Issue(t, "good", valid(now.Add(-300*day), now.Add(20*day)))
	short, _ := a.Issue(t, "short", valid(now.Add(-2*time.Hour), now.Add(time.Hour)))
	missing := filepath.Join(t.TempDir(), "missing.pem")
	var log bytes.Buffer
	o := &operation{log: zerolog.New(&log)}
	peer := func(name string, end time.Duration) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-300 * day), NotAfter: now.Add(end)}
	}
	peers := func() []*x509.Certificate {
		return []*x509.Certificate{peer("good", 5*day), peer("good", 3*day), peer("good", 100*day), peer("controller", day)}
	}
	for step, test := range []struct {
		after time.Duration
		want  int // warnings in the log so far
	}{{0, 2}, {time.Hour, 2}, {23 * time.Hour, 2}, {25 * time.Hour, 4}} {
		o.lookAtExpiry(now.Add(test.after), []string{late, good, late, missing}, peers)
		if n := strings.Count(log.String(), `"level":"warn"`); n != test.want {
			t.Errorf("step %d: %d warnings, want %d\n%s", step, n, test.want, &log)
		}
	}
	if w := o.expiring(); len(w) != 1 || !strings.Contains(w[0], late+" expires at ") {
		t.Errorf("warnings %q", w)
	}
	if !strings.Contains(log.String(), "2 connections of nodes use an earlier certificate, which expires at "+now.Add(3*day).UTC().Format(time.RFC3339)) {
		t.Errorf("no warning of nodes:\n%s", &log)
	}
	o.lookAtExpiry(now, []string{good, short}, nil)
	if w := o.expiring(); len(w) != 0 {
		t.Errorf("warnings %q", w)
	}
	o.lookAtExpiry(now.Add(30*time.Minute), []string{short}, nil)
	if w := o.expiring(); len(w) != 1 {
		t.Errorf("warnings %q", w)
	}
}

// The certificate of a connected agent counts as what its authority issued last, because
// the connection outlives a renewal.
func TestPeerCertificates(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	issuer, err := authority.Create(filepath.Join(dir, "authority"), "host", 100*day, ownedfile.Own(), now)
	if err != nil {
		t.Fatal(err)
	}
	layer := func(s authority.Subject) *security.Layer {
		p, err := enrol.Issue(issuer, now, s)
		if err != nil {
			t.Fatal(err)
		}
		text, err := p.PEM()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, s.Name+".pem")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := security.New(security.Config{Mode: security.Mutual, CertFile: file, KeyFile: file, CAFile: issuer.File(), RevokedFile: issuer.RevokedFile()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	agent := layer(authority.Subject{Kind: authority.Agent, Name: "sensor-1"})
	s := &controllerService{security: layer(authority.Subject{Kind: authority.Controller, Name: "controller"}), joins: joins{authority: issuer}}
	if all, err := s.peerCertificates(); err != nil || len(all) != 0 {
		t.Errorf("got %v, %v", all, err)
	}
	secureLayers(t, agent, s.security)
	all, err := s.peerCertificates()
	if err != nil || len(all) != 1 || all[0].Name != "of sensor-1" || !all[0].NotAfter.Equal(now.Add(100*day).UTC().Truncate(time.Second)) {
		t.Fatalf("got %v, %v", all, err)
	}
	_, request, err := enrol.NewRequest("sensor-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := issuer.Renew(now.Add(70*day), s.security.PeerCertificates()[0], request); err != nil {
		t.Fatal(err)
	}
	if all, err := s.peerCertificates(); err != nil || len(all) != 1 || all[0].NotAfter.Before(now.Add(169*day)) {
		t.Errorf("after a renewal: %v, %v", all, err)
	}
}

// secureLayers connects two layers until the end of the test.
func secureLayers(t *testing.T, dialer, acceptor *security.Layer) {
	t.Helper()
	a, b := net.Pipe()
	accepted := make(chan error, 1)
	go func() {
		c, err := acceptor.Secure(context.Background(), b, false)
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		accepted <- err
	}()
	c, err := dialer.Secure(t.Context(), a, true)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Read(make([]byte, 1)) }()
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}
