package security

import (
	"crypto/x509"
	"strings"
	"testing"
)

// A certificate with the host as common name only is accepted with a notice, and
// refused if that is required.
func TestWebClientCommonName(t *testing.T) {
	f := &forge{t: t}
	root := f.root()
	for _, tt := range []struct {
		name       string
		change     func(*x509.Certificate)
		require    bool
		noticed    bool
		wantRefuse string
	}{
		{name: "common name", change: named(rulesHost), noticed: true},
		{name: "common name, alternative name required", change: named(rulesHost), require: true, wantRefuse: "only as common name"},
		{name: "alternative name", change: good},
		{name: "alternative name required", change: good, require: true},
		{name: "another common name", change: named("other"), wantRefuse: `certificate is for ["other"], not for "sensor.zeek.example"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &served{chain: []*issued{f.issue("server", root, tt.change)}, roots: []*issued{root}}
			roots, err := loadAuthorities(s.rootsFile(t))
			if err != nil {
				t.Fatal(err)
			}
			noticed := false
			err = handshake(t, s.serve(t), WebClientConfig{
				Host: rulesHost, Authorities: roots.pool, RequireAltName: tt.require,
				OnCommonName: func(*x509.Certificate) { noticed = true },
			}.TLS())
			if tt.wantRefuse == "" && err != nil || tt.wantRefuse != "" && (err == nil || !strings.Contains(err.Error(), tt.wantRefuse)) {
				t.Errorf("error %v, want %q", err, tt.wantRefuse)
			}
			if noticed != tt.noticed {
				t.Errorf("noticed is %t, want %t", noticed, tt.noticed)
			}
		})
	}
}
