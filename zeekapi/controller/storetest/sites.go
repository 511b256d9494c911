package storetest

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// SitesFixture are stored sites, with faults.
type SitesFixture struct {
	// Open opens the sites, as the next process on the same machine does. End ends that process.
	Open func(t *testing.T) (s controller.SiteStore, end func())

	// Lose loses the machine, so that the next process is on another one. It is nil if there
	// is only one machine.
	Lose func(t *testing.T)

	// Break makes the store fail, and returns a part of the reason. Repair ends that. They are
	// nil if that cannot be tested.
	Break  func(t *testing.T) (reason string)
	Repair func(t *testing.T)
}

// RunSites runs the tests of stores of sites. Fresh returns a fixture without sites.
func RunSites(t *testing.T, fresh func(t *testing.T) SitesFixture) {
	for name, test := range map[string]func(t *testing.T, f SitesFixture){
		"uploaded sites are read":         uploadedSitesAreRead,
		"interrupted uploads continue":    interruptedUploads,
		"only verified sites are stored":  onlyVerifiedSites,
		"sites that are needed are kept":  neededSitesAreKept,
		"a store of sites that fails":     sitesFail,
		"sites survive a lost machine":    sitesSurvive,
		"a removed site is stored again":  removedSiteIsStoredAgain,
		"another packed form of one site": otherPackedForm,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t)) })
	}
}

// PackedSite returns a packed site of about that many bytes.
func PackedSite(t testing.TB, size int, seed uint64) *site.Packed {
	t.Helper()
	dir := t.TempDir()
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	data := make([]byte, size)
	_, _ = random.Read(data) // returns no error
	if err := os.WriteFile(filepath.Join(dir, "local.zeek"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := site.Pack(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Upload uploads a site, or only some parts of it, and returns the progress.
func Upload(s controller.SiteStore, p *site.Packed, parts int) (zeekapi.SiteProgress, error) {
	at := s.HaveOf("name alice", p.ID)
	for ; parts != 0 && !at.Complete; parts-- {
		var err error
		if at, err = s.AppendOf("name alice", p.Part(at.Have)); err != nil {
			return at, err
		}
	}
	return at, nil
}

func uploaded(t *testing.T, s controller.SiteStore, p *site.Packed) {
	t.Helper()
	if at, err := Upload(s, p, 100); err != nil || !at.Complete {
		t.Fatalf("uploaded: %+v, %v", at, err)
	}
}

// expectSite reads a site, and compares its content.
func expectSite(t *testing.T, s controller.SiteStore, p *site.Packed) {
	t.Helper()
	if at := s.HaveOf("name bob", p.ID); !at.Complete {
		t.Errorf("the site is not complete: %+v", at)
	}
	if remote, ok := s.(controller.RemoteSites); ok {
		if err := remote.Fetch(context.Background(), p.ID); err != nil {
			t.Fatal(err)
		}
		if !remote.Local(p.ID) {
			t.Error("the site is not on this machine")
		}
	}
	var data strings.Builder
	for {
		part, err := s.Read(p.ID, uint64(data.Len()), zeekapi.MaxSitePart)
		if err != nil {
			t.Fatal(err)
		}
		if part.Data == "" {
			break
		}
		data.WriteString(part.Data)
	}
	if data.String() != string(p.Data) {
		t.Errorf("read %d bytes, want the %d bytes of the site", data.Len(), len(p.Data))
	}
}

// expectGone waits until a site is gone.
func expectGone(t *testing.T, s controller.SiteStore, p *site.Packed) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); s.HaveOf("name bob", p.ID).Complete; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the site is not removed")
		}
	}
}

func uploadedSitesAreRead(t *testing.T, f SitesFixture) {
	small, large := PackedSite(t, 100, 1), PackedSite(t, 3<<20, 2)
	s, end := f.Open(t)
	for _, p := range []*site.Packed{small, large} {
		uploaded(t, s, p)
		expectSite(t, s, p)
	}
	end()
	s, end = f.Open(t)
	defer end()
	expectSite(t, s, small)
	expectSite(t, s, large)
	if at, err := s.AppendOf("name bob", large.Part(5)); err != nil || !at.Complete {
		t.Errorf("a part of a complete site: %+v, %v", at, err)
	}
}

func interruptedUploads(t *testing.T, f SitesFixture) {
	p := PackedSite(t, 3<<20, 3)
	s, end := f.Open(t)
	before, err := Upload(s, p, 3)
	if err != nil || before.Have == 0 || before.Complete {
		t.Fatalf("three parts: %+v, %v", before, err)
	}
	end()
	s, end = f.Open(t)
	defer end()
	if at := s.HaveOf("name alice", p.ID); at != before {
		t.Errorf("the next process has %+v, want %+v", at, before)
	}
	uploaded(t, s, p)
	expectSite(t, s, p)
}

func onlyVerifiedSites(t *testing.T, f SitesFixture) {
	p, other := PackedSite(t, 3<<20, 4), PackedSite(t, 3<<20, 5)
	s, end := f.Open(t)
	defer end()
	wrong := *p
	wrong.Data = other.Data
	if at, err := Upload(s, &wrong, 100); err == nil || at.Complete {
		t.Errorf("the content of another site: %+v, %v", at, err)
	}
	if at := s.HaveOf("name alice", p.ID); at.Complete || at.Have != 0 {
		t.Errorf("afterwards: %+v", at)
	}
	uploaded(t, s, p)
	expectSite(t, s, p)
}

func neededSitesAreKept(t *testing.T, f SitesFixture) {
	needed, other := PackedSite(t, 600<<10, 6), PackedSite(t, 600<<10, 7)
	s, end := f.Open(t)
	defer end()
	uploaded(t, s, needed)
	uploaded(t, s, other)
	if err := s.Keep([]string{needed.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	expectSite(t, s, other)
	if err := s.Keep([]string{needed.ID}, 0); err != nil {
		t.Fatal(err)
	}
	expectGone(t, s, other)
	expectSite(t, s, needed)
}

func removedSiteIsStoredAgain(t *testing.T, f SitesFixture) {
	p := PackedSite(t, 600<<10, 8)
	s, end := f.Open(t)
	for range 3 {
		uploaded(t, s, p)
		if err := s.Keep(nil, 0); err != nil {
			t.Fatal(err)
		}
		expectGone(t, s, p)
	}
	if err := s.Keep([]string{p.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	uploaded(t, s, p)
	end()
	s, end = f.Open(t)
	defer end()
	expectSite(t, s, p)
}

// otherPackedForm uploads a part of a packed site, and then another packed form of the same one.
func otherPackedForm(t *testing.T, f SitesFixture) {
	p := PackedSite(t, 3<<20, 9)
	s, end := f.Open(t)
	defer end()
	part := p.Part(0)
	part.Size += 10
	if _, err := s.AppendOf("name alice", part); err != nil {
		t.Fatal(err)
	}
	if at, err := s.AppendOf("name alice", p.Part(0)); err != nil || at.Complete {
		t.Fatalf("the first part of another form: %+v, %v", at, err)
	}
	uploaded(t, s, p)
	expectSite(t, s, p)
}

func sitesFail(t *testing.T, f SitesFixture) {
	if f.Break == nil {
		t.Skip("has tests of its own")
	}
	before, lost := PackedSite(t, 600<<10, 10), PackedSite(t, 2<<20, 11)
	s, end := f.Open(t)
	uploaded(t, s, before)
	reason := f.Break(t)
	if at, err := Upload(s, lost, 100); err == nil || !strings.Contains(err.Error(), reason) {
		t.Errorf("while the store fails: %+v, %v, want %q", at, err, reason)
	}
	if at := s.HaveOf("name alice", lost.ID); at.Complete {
		t.Error("a site that was not stored is complete")
	}
	f.Repair(t)
	uploaded(t, s, lost)
	end()
	if f.Lose != nil {
		f.Lose(t)
	}
	s, end = f.Open(t)
	defer end()
	expectSite(t, s, before)
	expectSite(t, s, lost)
}

func sitesSurvive(t *testing.T, f SitesFixture) {
	if f.Lose == nil {
		t.Skip("there is only one machine")
	}
	p := PackedSite(t, 3<<20, 12)
	s, end := f.Open(t)
	uploaded(t, s, p)
	end()
	f.Lose(t)
	s, end = f.Open(t)
	defer end()
	expectSite(t, s, p)
	if remote, ok := s.(controller.RemoteSites); ok {
		if err := remote.Fetch(context.Background(), strings.Repeat("0", 64)); err == nil {
			t.Error("a site that does not exist was fetched")
		}
	}
}
