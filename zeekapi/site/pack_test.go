package site_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// write creates files in a directory: a name that ends in a slash is a directory,
// and content that begins with "-> " makes a symbolic link.
func write(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		at := filepath.Join(dir, name)
		parent := filepath.Dir(at)
		if strings.HasSuffix(name, "/") {
			parent = at
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
		case link:
			err = os.Symlink(target, at)
		default:
			err = os.WriteFile(at, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// example is a site with everything that a site may have.
func example(t testing.TB) string {
	dir := write(t, t.TempDir(), map[string]string{
		"local.zeek":             "@load packages\n",
		"packages/__load__.zeek": "@load ./one\n",
		"packages/one/main.zeek": "module One;\n",
		"packages/one-more.zeek": "# sorts before the files of packages/one\n",
		"packages/" + strings.Repeat("d", 200) + "/" + strings.Repeat("long", 50) + ".zeek": "# needs an extended header\n",
		"packages/größe.zeek":  "# not ASCII\n",
		"packages/latest":      "-> one",
		"packages/one/up.zeek": "-> ../../local.zeek",
		"empty/":               "",
		"bin/tool":             "#!/bin/sh\n",
		"empty.zeek":           "",
	})
	if err := os.Chmod(filepath.Join(dir, "bin/tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// exampleID is the ID of example. It must never change: the controllers and agents
// of a cluster may be of different versions.
const exampleID = "dd713c65dfb73229aa95ff5cd4c11ed5f45bd0137c91ada90d6f2c2309c5026e"

func pack(t testing.TB, dir string) *site.Packed {
	t.Helper()
	p, err := site.Pack(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPack(t *testing.T) {
	dir := example(t)
	a := pack(t, dir)
	if a.ID != exampleID || !zeekapi.ValidSite(a.ID) {
		t.Errorf("the ID is %s", a.ID)
	}
	again := example(t)
	write(t, again, map[string]string{".git/config": "x", "packages/one/.git": "gitdir: ../../.git/modules/one", "packages/.svn/entries": "1"})
	then := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, name := range []string{"local.zeek", "packages"} {
		if err := os.Chtimes(filepath.Join(again, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"local.zeek": 0o600, "bin/tool": 0o700, "empty": 0o700} {
		if err := os.Chmod(filepath.Join(again, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	b := pack(t, again)
	if a.ID != b.ID || !bytes.Equal(a.Data, b.Data) {
		t.Errorf("times, owners' rights and version control change the site: %s and %s", a.ID, b.ID)
	}
	if diff := cmp.Diff([]string{".git", "packages/.svn", "packages/one/.git"}, b.Skipped); diff != "" {
		t.Error(diff)
	}
	if err := os.Chmod(filepath.Join(again, "local.zeek"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c := pack(t, again); c.ID == a.ID {
		t.Error("an executable file does not change the ID")
	}
	var got []string
	for _, e := range a.Entries {
		got = append(got, fmt.Sprintf("%.60s %t %d %t %s", e.Path, e.Dir, e.Size, e.Executable, e.Target))
	}
	want := []string{
		"bin true 0 false ", "bin/tool false 10 true ", "empty true 0 false ", "empty.zeek false 0 false ",
		"local.zeek false 15 false ", "packages true 0 false ", "packages/__load__.zeek false 12 false ",
		"packages/" + strings.Repeat("d", 51) + " true 0 false ", "packages/" + strings.Repeat("d", 51) + " false 27 false ",
		"packages/größe.zeek false 12 false ", "packages/latest false 0 false one", "packages/one true 0 false ",
		"packages/one-more.zeek false 41 false ", "packages/one/main.zeek false 12 false ", "packages/one/up.zeek false 0 false ../../local.zeek",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a.Bytes != 129 {
		t.Errorf("%d bytes", a.Bytes)
	}
}

// TestPackThroughLink packs a site whose directory is a symbolic link.
func TestPackThroughLink(t *testing.T) {
	link := filepath.Join(t.TempDir(), "site")
	if err := os.Symlink(example(t), link); err != nil {
		t.Fatal(err)
	}
	if p := pack(t, link); p.ID != exampleID {
		t.Errorf("the ID is %s", p.ID)
	}
}

// TestPackRefuses checks that one error lists all problems.
func TestPackRefuses(t *testing.T) {
	own := t.TempDir()
	dir := write(t, own, map[string]string{
		"good.zeek": "", "a/b/good": "-> ../../good.zeek", "dangling": "-> nothing", "self": "-> ./a//b/",
		"absolute": "-> /etc/passwd", "own": "-> " + own, "out": "-> ../x", "a/out": "-> ../../x", "a/b/up": "-> ../..",
		"a/b/late": "-> up/../etc", "back\\slash": "", "new\nline": "", "bad\xff": "", "link": "-> x\ny",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The path of a socket must be short.
	t.Chdir(dir)
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = site.Pack(dir, site.Limits{})
	var refused *site.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("%v", err)
	}
	var got []string
	for _, p := range refused.Problems {
		got = append(got, fmt.Sprintf("%q %s", p.Path, strings.ReplaceAll(p.Text, own, "DIR")))
	}
	want := []string{
		`"a/b/late" is a symbolic link with ".." after a name: "up/../etc"`,
		`"a/out" is a symbolic link that leaves the site: "../../x"`,
		`"absolute" is a symbolic link with an absolute target: "/etc/passwd"`,
		`"back\\slash" has a name with a backslash`,
		`"bad\xff" has a name that is not UTF-8`,
		`"link" has a name with control characters in its target: "x\ny"`,
		`"new\nline" has a name with control characters`,
		`"out" is a symbolic link that leaves the site: "../x"`,
		`"own" is a symbolic link with an absolute target: "DIR"`,
		`"pipe" is a named pipe`,
		`"socket" is a socket`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if text := refused.Error(); strings.Count(text, "\n") != len(want) {
		t.Errorf("not one line for each problem:\n%s", text)
	}
}

func TestPackErrors(t *testing.T) {
	empty := write(t, t.TempDir(), map[string]string{"a/": "", "l": "-> a"})
	file := filepath.Join(write(t, t.TempDir(), map[string]string{"f": ""}), "f")
	dir := example(t)
	for _, tt := range []struct {
		name, dir string
		limits    site.Limits
		want      string
	}{
		{"nothing there", "/does/not/exist", site.Limits{}, "site /does/not/exist: no such file or directory"},
		{"a file", file, site.Limits{}, "not a directory"},
		{"no files", empty, site.Limits{}, "there are no files in it"},
		{"too large", dir, site.Limits{Bytes: 128}, "the site is larger than the limit of 128 bytes"},
		{"just fits", dir, site.Limits{Bytes: 129, Files: 15}, ""},
		{"too many", dir, site.Limits{Files: 14}, "the site has more than 14 files, directories and links"},
		{"negative bytes", dir, site.Limits{Bytes: -1}, "must not be negative"},
		{"negative files", dir, site.Limits{Files: -1}, "must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := site.Pack(tt.dir, tt.limits)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPart(t *testing.T) {
	p := &site.Packed{ID: exampleID, Data: bytes.Repeat([]byte("x"), 600<<10)}
	for _, tt := range []struct{ offset, from, length int }{{0, 0, 512 << 10}, {512 << 10, 512 << 10, 88 << 10}, {600 << 10, 600 << 10, 0}, {1 << 30, 600 << 10, 0}} {
		part := p.Part(uint64(tt.offset))
		if part.Site != exampleID || part.Size != 600<<10 || part.Offset != uint64(tt.from) || len(part.Data) != tt.length {
			t.Errorf("%d: %s, %d bytes at %d", tt.offset, part.Site, len(part.Data), part.Offset)
		}
	}
}

var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
})

// compress returns a packed site with any content, and its ID.
func compress(t testing.TB, archive []byte) (packed []byte, id string) {
	t.Helper()
	z, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(archive)
	return z.EncodeAll(archive, nil), hex.EncodeToString(sum[:])
}

// archive writes a tar archive of headers, each with content of the right size.
func archive(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
