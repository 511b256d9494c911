package site_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// random returns a packed site that does not compress, with a file of that size.
func random(t testing.TB, size int) *site.Packed {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, size)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return pack(t, dir)
}

func openStore(t testing.TB, cfg site.StoreConfig) *site.Store {
	t.Helper()
	s, err := site.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// upload sends the parts that the store has not got, at most n of them.
func upload(t testing.TB, s *site.Store, p *site.Packed, n int) zeekapi.SiteProgress {
	t.Helper()
	at := s.Have(p.ID)
	for ; n > 0 && !at.Complete; n-- {
		var err error
		if at, err = s.Append(p.Part(at.Have)); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

const all = 1 << 20 // parts

func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sites")
	s := openStore(t, site.StoreConfig{Dir: dir})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	p := random(t, 2*zeekapi.MaxSitePart)
	if _, err := s.Read(p.ID, 0, 1); err == nil {
		t.Error("read an unknown site")
	}
	if at := upload(t, s, p, 1); at != (zeekapi.SiteProgress{Have: zeekapi.MaxSitePart}) {
		t.Errorf("after one part: %+v", at)
	}
	// Parts that do not fit, and a question, change nothing.
	for _, part := range []zeekapi.SitePart{p.Part(0), p.Part(2 * zeekapi.MaxSitePart), p.Part(1), {Site: p.ID}, {Site: p.ID, Size: 99, Offset: 1, Data: "x"}} {
		if at, err := s.Append(part); err != nil || at.Have != zeekapi.MaxSitePart || at.Complete {
			t.Errorf("part at %d: %+v, %v", part.Offset, at, err)
		}
	}
	if _, err := s.Read(p.ID, 0, 1); err == nil {
		t.Error("read an incomplete site")
	}
	// A new store continues.
	s = openStore(t, site.StoreConfig{Dir: dir})
	if at := s.Have(p.ID); at.Have != zeekapi.MaxSitePart || at.Complete {
		t.Errorf("after a restart: %+v", at)
	}
	complete := zeekapi.SiteProgress{Have: uint64(len(p.Data)), Complete: true}
	if at := upload(t, s, p, all); at != complete {
		t.Errorf("at the end: %+v", at)
	}
	if at, err := s.Append(p.Part(0)); at != complete || err != nil {
		t.Errorf("a part of a complete site: %+v, %v", at, err)
	}
	s = openStore(t, site.StoreConfig{Dir: dir})
	if at := s.Have(p.ID); at != complete {
		t.Errorf("after another restart: %+v", at)
	}
	var got []byte
	for {
		part, err := s.Read(p.ID, uint64(len(got)), 1<<30)
		if err != nil || part.Site != p.ID || part.Size != uint64(len(p.Data)) || part.Offset != uint64(len(got)) {
			t.Fatalf("%+v, %v", part, err)
		}
		if part.Data == "" {
			break
		}
		got = append(got, part.Data...)
	}
	if !bytes.Equal(got, p.Data) {
		t.Error("read something else")
	}
	if part, err := s.Read(p.ID, 7, 3); err != nil || part.Data != string(p.Data[7:10]) {
		t.Errorf("%q, %v", part.Data, err)
	}
	for _, offset := range []uint64{uint64(len(p.Data)) + 1, 1 << 63, 1<<64 - 1} {
		if _, err := s.Read(p.ID, offset, 1); err == nil {
			t.Errorf("read at %d", offset)
		}
	}
	if diff := cmp.Diff([]string{p.ID}, s.Sites()); diff != "" {
		t.Error(diff)
	}
}

func TestStoreUnpacks(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, site.StoreConfig{Dir: dir})
	p := pack(t, example(t))
	if _, err := s.Unpacked(p.ID); err == nil {
		t.Error("unpacked an unknown site")
	}
	upload(t, s, p, all)
	where := filepath.Join(dir, p.ID)
	check := func(s *site.Store) {
		t.Helper()
		if got, err := s.Unpacked(p.ID); err != nil || got != where {
			t.Errorf("%s, %v", got, err)
		}
		if got := pack(t, where); got.ID != p.ID || len(got.Skipped) > 0 {
			t.Errorf("it is %s", got.ID)
		}
	}
	check(s)
	check(s)
	check(openStore(t, site.StoreConfig{Dir: dir}))
	// A changed directory is replaced.
	for _, change := range []func() error{
		func() error { return os.WriteFile(filepath.Join(where, "new.zeek"), nil, 0o644) },
		func() error { return os.Remove(filepath.Join(where, "local.zeek")) },
		func() error { return os.Mkdir(filepath.Join(where, ".git"), 0o755) },
		func() error { return os.RemoveAll(where) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		check(openStore(t, site.StoreConfig{Dir: dir}))
	}
	// What an interrupted store left behind disappears.
	for _, name := range []string{".unpack-1", ".remove-" + p.ID} {
		write(t, dir, map[string]string{name + "/x": ""})
	}
	write(t, dir, map[string]string{"nonsense.part": "", p.ID + ".x.part": "", strings.Repeat("a", 64) + ".1.part": "too long"})
	check(openStore(t, site.StoreConfig{Dir: dir}))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	// A packed site that was damaged on the disk is not unpacked.
	if err := os.RemoveAll(where); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(where+".tar.zst", p.Data[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := openStore(t, site.StoreConfig{Dir: dir}).Unpacked(p.ID); err == nil {
		t.Errorf("unpacked %s", got)
	}
}

func TestStoreRefuses(t *testing.T) {
	p := random(t, 1000)
	id := p.ID
	small := site.StoreConfig{Limits: site.Limits{Bytes: 100, Files: 1}}
	for _, tt := range []struct {
		name string
		cfg  site.StoreConfig
		part zeekapi.SitePart
		want string
	}{
		{"no ID", site.StoreConfig{}, zeekapi.SitePart{Site: "../x", Size: 1, Data: "x"}, "not the ID"},
		{"too large", small, zeekapi.SitePart{Site: id, Size: 2 << 20, Data: "x"}, "over the limit"},
		{"enormous", site.StoreConfig{}, zeekapi.SitePart{Site: id, Size: 1 << 63, Data: "x"}, "over the limit"},
		{"large part", site.StoreConfig{}, zeekapi.SitePart{Site: id, Size: 1 << 20, Data: strings.Repeat("x", zeekapi.MaxSitePart+1)}, "larger than"},
		{"beyond the end", site.StoreConfig{}, zeekapi.SitePart{Site: id, Size: 1, Offset: 1, Data: "x"}, "not within"},
		{"offset beyond the end", site.StoreConfig{}, zeekapi.SitePart{Site: id, Size: 1, Offset: 1<<64 - 1, Data: "xx"}, "not within"},
		{"all sites", site.StoreConfig{Bytes: 10}, zeekapi.SitePart{Site: id, Size: 11, Data: "x"}, "limit of 10 bytes for all sites"},
		{"content", site.StoreConfig{}, zeekapi.SitePart{Site: id, Size: 1, Data: "x"}, id[:12]},
		{"another site", site.StoreConfig{}, zeekapi.SitePart{Site: strings.Repeat("0", 64), Size: uint64(len(p.Data)), Data: string(p.Data)}, "damaged"},
		{"too large unpacked", small, p.Part(0), "larger than the limit of 100 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Dir = t.TempDir()
			s := openStore(t, tt.cfg)
			at, err := s.Append(tt.part)
			if err == nil || !strings.Contains(err.Error(), tt.want) || at != (zeekapi.SiteProgress{}) {
				t.Errorf("%+v, %v; want %s", at, err, tt.want)
			}
			if left := list(t, tt.cfg.Dir); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
	for _, cfg := range []site.StoreConfig{{Bytes: -1}, {Uploads: -1}, {Limits: site.Limits{Files: -1}}, {Dir: "/dev/null/x"}} {
		if _, err := site.Open(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// TestStoreStartsOver uploads a site of which another compression was begun.
func TestStoreStartsOver(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, site.StoreConfig{Dir: dir})
	p := random(t, zeekapi.MaxSitePart)
	if at, err := s.Append(zeekapi.SitePart{Site: p.ID, Size: 1000, Data: "other"}); err != nil || at.Have != 5 {
		t.Fatalf("%+v, %v", at, err)
	}
	if at, err := s.Append(p.Part(5)); err != nil || at.Have != 5 {
		t.Errorf("the middle of it: %+v, %v", at, err)
	}
	if at, err := s.Append(p.Part(0)); err != nil || at.Have != zeekapi.MaxSitePart {
		t.Errorf("its beginning: %+v, %v", at, err)
	}
	if at := upload(t, s, p, all); !at.Complete {
		t.Errorf("its end: %+v", at)
	}
	if left := list(t, dir); len(left) != 1 {
		t.Errorf("left %q", left)
	}
}

func TestStoreLimitsUploads(t *testing.T) {
	now := time.Unix(1790000000, 0)
	s := openStore(t, site.StoreConfig{Dir: t.TempDir(), Uploads: 2, Bytes: 3000, Now: func() time.Time { return now }})
	begin := func(n byte, size int) error {
		_, err := s.Append(zeekapi.SitePart{Site: strings.Repeat(string('0'+rune(n)), 64), Size: uint64(size), Data: "x"})
		now = now.Add(5 * time.Second)
		return err
	}
	if a, b, c := begin(1, 1000), begin(2, 1000), begin(3, 1000); a != nil || b != nil || c == nil || !strings.Contains(c.Error(), "2 other sites") {
		t.Errorf("%v, %v, %v", a, b, c)
	}
	now = now.Add(20 * time.Second) // the first one is idle now
	if err := begin(3, 1000); err != nil {
		t.Error(err)
	}
	if at := s.Have(strings.Repeat("1", 64)); at.Have != 0 {
		t.Errorf("%+v", at)
	}
	now = now.Add(time.Hour)
	if err := begin(4, 2001); err == nil { // a place is free, but not the space
		t.Error("no error")
	}
}

func TestStoreKeeps(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	s := openStore(t, site.StoreConfig{Dir: dir, Now: func() time.Time { return now }})
	a, b, c, d := random(t, 10), random(t, 20), random(t, 30), random(t, 2*zeekapi.MaxSitePart)
	for _, p := range []*site.Packed{a, b, c} {
		upload(t, s, p, all)
		if _, err := s.Unpacked(p.ID); err != nil {
			t.Fatal(err)
		}
	}
	upload(t, s, d, 1)
	keep := func(ids ...string) []string {
		t.Helper()
		if err := s.Keep(ids, time.Hour); err != nil {
			t.Fatal(err)
		}
		return s.Sites()
	}
	want := []string{a.ID, b.ID, c.ID}
	slices.Sort(want)
	if diff := cmp.Diff(want, keep()); diff != "" {
		t.Errorf("within the grace period: %s", diff)
	}
	now = now.Add(50 * time.Minute)
	s.Have(b.ID) // a client is about to use it
	now = now.Add(20 * time.Minute)
	want = []string{a.ID, b.ID}
	slices.Sort(want)
	if diff := cmp.Diff(want, keep(a.ID)); diff != "" {
		t.Error(diff)
	}
	if at := s.Have(d.ID); at.Have != 0 {
		t.Errorf("an upload without an end remains: %+v", at)
	}
	if _, err := s.Unpacked(c.ID); err == nil {
		t.Error("an unpacked site remains")
	}
	if left := list(t, dir); len(left) != 6 { // two sites, two directories with a file
		t.Errorf("left %q", left)
	}
}

// TestStoreAndClock sets the clock forward and back: relative to a clock that has a
// monotonic reading, that changes the times of all files.
func TestStoreAndClock(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	open := func() *site.Store {
		return openStore(t, site.StoreConfig{Dir: dir, Now: func() time.Time { return now }})
	}
	step := func(d time.Duration) {
		t.Helper()
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			at := now.Add(-d)
			if err := os.Chtimes(filepath.Join(dir, file.Name()), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	has := func(s *site.Store, p *site.Packed) bool {
		t.Helper()
		if err := s.Keep(nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		return slices.Contains(s.Sites(), p.ID)
	}
	s, p, part := open(), random(t, 10), random(t, 2*zeekapi.MaxSitePart)
	upload(t, s, p, all)
	upload(t, s, part, 1)
	step(100 * time.Hour)
	if !has(s, p) || s.Have(part.ID).Have == 0 {
		t.Error("a step forward removes what was just uploaded")
	}
	step(-100 * time.Hour)
	s = open()
	if !has(s, p) {
		t.Error("a step back removes what was just uploaded")
	}
	now = now.Add(time.Hour)
	if has(s, p) || s.Have(part.ID).Have != 0 {
		t.Error("after a step back, files remain until the clock has caught up")
	}
}

// TestStoreConcurrently uses a store from several goroutines.
func TestStoreConcurrently(t *testing.T) {
	s := openStore(t, site.StoreConfig{Dir: t.TempDir()})
	p := random(t, 3*zeekapi.MaxSitePart)
	var group sync.WaitGroup
	errs := make(chan error, 4)
	for range cap(errs) {
		group.Go(func() {
			at := s.Have(p.ID)
			for !at.Complete {
				var err error
				if at, err = s.Append(p.Part(at.Have)); err != nil {
					errs <- err
					return
				}
			}
			if dir, err := s.Unpacked(p.ID); err != nil || filepath.Base(dir) != p.ID {
				errs <- fmt.Errorf("%s, %w", dir, err)
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// TestStoreCrashes damages the end of an upload, as a crash of the machine may.
func TestStoreCrashes(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, site.StoreConfig{Dir: dir})
	p := random(t, zeekapi.MaxSitePart)
	upload(t, s, p, 1)
	file := filepath.Join(dir, fmt.Sprintf("%s.%d.part", p.ID, len(p.Data)))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(text[len(text)-4096:])
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, site.StoreConfig{Dir: dir})
	if at, err := s.Append(p.Part(s.Have(p.ID).Have)); err == nil || at.Have != 0 {
		t.Errorf("%+v, %v", at, err)
	}
	if at := upload(t, s, p, all); !at.Complete {
		t.Errorf("%+v", at)
	}
}

// part returns a part of a site that does not exist.
func part(n byte, offset, size int) zeekapi.SitePart {
	return zeekapi.SitePart{Site: strings.Repeat(string('0'+rune(n)), 64), Offset: uint64(offset), Size: uint64(size), Data: "x"}
}

// TestOwnersDoNotDisturbEachOther uploads sites of an owner while another one begins ever
// new ones, and sends other parts of the same site.
func TestOwnersDoNotDisturbEachOther(t *testing.T) {
	now := time.Unix(1790000000, 0)
	dir := t.TempDir()
	s := openStore(t, site.StoreConfig{Dir: dir, Uploads: 4, Bytes: 4 << 20, Now: func() time.Time { return now }})
	p := random(t, 2*zeekapi.MaxSitePart)
	if _, err := s.AppendOf("alice", p.Part(0)); err != nil {
		t.Fatal(err)
	}
	for i := range byte(9) {
		for _, size := range []int{1000, 1 << 20} {
			if _, err := s.AppendOf("mallory", part(i, 0, size)); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Second)
		}
	}
	if left := list(t, dir); len(left) != 3 {
		t.Errorf("files %q, want one upload of alice and two of mallory", left)
	}
	if at, err := s.AppendOf("mallory", zeekapi.SitePart{Site: p.ID, Size: uint64(len(p.Data)), Data: "garbage"}); err != nil || at.Have != 7 {
		t.Errorf("mallory's part of the same site: %+v, %v", at, err)
	}
	s = openStore(t, site.StoreConfig{Dir: dir, Uploads: 4, Bytes: 4 << 20})
	at := s.HaveOf("alice", p.ID)
	for !at.Complete {
		var err error
		if at, err = s.AppendOf("alice", p.Part(at.Have)); err != nil {
			t.Fatal(err)
		}
	}
	if at := s.HaveOf("mallory", p.ID); !at.Complete {
		t.Errorf("the site of alice is for everybody, mallory has %+v", at)
	}
}

// TestFullStoreHasRoomForOthers fills a store with the uploads of few owners. Another one
// can upload all the same, at the cost of those that have most.
func TestFullStoreHasRoomForOthers(t *testing.T) {
	s := openStore(t, site.StoreConfig{Dir: t.TempDir(), Uploads: 4, Bytes: 4 << 20})
	for i := range byte(4) {
		if _, err := s.AppendOf([]string{"m", "n"}[i%2], part(i, 0, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	for i, owner := range []string{"a", "b"} {
		if _, err := s.AppendOf(owner, part(byte(5+i), 0, 1000)); err != nil {
			t.Errorf("%s: %v", owner, err)
		}
	}
	_, err := s.AppendOf("c", part(9, 0, 1000)) // all have one now
	if err == nil || !strings.Contains(err.Error(), "4 other sites are being uploaded; try again later") {
		t.Errorf("got %v, want the reason", err)
	}
	if _, err := s.AppendOf("a", part(8, 0, 1000)); err == nil {
		t.Error("an owner takes the place of another one that has no more")
	}
}

// TestCompleteSitesCount checks that complete sites that no configuration needs count as
// the owner's, until somebody else asks for them or Keep keeps them.
func TestCompleteSitesCount(t *testing.T) {
	now := time.Now()
	s := openStore(t, site.StoreConfig{Dir: t.TempDir(), Bytes: 4 << 20, Limits: site.Limits{Bytes: 1 << 17, Files: 10}, Now: func() time.Time { return now }})
	uploaded := func() *site.Packed {
		p := random(t, 100<<10)
		if _, err := s.AppendOf("mallory", p.Part(0)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		return p
	}
	needed, shared := uploaded(), uploaded()
	if err := s.Keep([]string{needed.ID}, time.Hour); err != nil {
		t.Fatal(err)
	}
	s.HaveOf("alice", shared.ID)
	for range 20 {
		uploaded()
	}
	if !s.Have(needed.ID).Complete || !s.Have(shared.ID).Complete {
		t.Error("a site is removed that others need")
	}
	if n := len(s.Sites()); n < 3 || n > 14 {
		t.Errorf("%d sites, want those within the share", n)
	}
}
