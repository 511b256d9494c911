package site_test

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// list returns the names and modes of all files in a directory.
func list(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		all = append(all, info.Mode().String()+" "+rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUnpack(t *testing.T) {
	p := pack(t, example(t))
	parent := t.TempDir()
	dir := filepath.Join(parent, "unpacked")
	if err := site.Unpack(bytes.NewReader(p.Data), p.ID, dir, site.Limits{}); err != nil {
		t.Fatal(err)
	}
	if again := pack(t, dir); again.ID != p.ID {
		t.Errorf("the unpacked site is %s", again.ID)
	}
	if names := list(t, parent); names[0] != "drwxr-xr-x unpacked" || len(names) != 16 || names[2] != "-r-xr-xr-x unpacked/bin/tool" {
		t.Errorf("%q", names)
	}
	// What is there stays there.
	if err := site.Unpack(bytes.NewReader(p.Data), p.ID, dir, site.Limits{}); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("unpacked again: %v", err)
	}
	if len(list(t, parent)) != 16 {
		t.Error("something is left")
	}
}

// TestUnpackRefuses unpacks what Pack does not make, each with the right hash. It
// leaves nothing behind.
func TestUnpackRefuses(t *testing.T) {
	file := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 1}
	}
	dir := func(name string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}
	}
	link := func(name, target string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
	}
	odd := func(change func(*tar.Header)) *tar.Header {
		h := file("f")
		change(h)
		return h
	}
	good := archive(t, dir("d"), file("d/f"))
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"good", good, ""},
		{"climbing", archive(t, file("../f")), `"../f" is no relative path`},
		{"climbing inside", archive(t, dir("d"), file("d/../../f")), "is no relative path"},
		{"absolute", archive(t, file("/f")), "is no relative path"},
		{"the directory itself", archive(t, dir(".")), "is no relative path"},
		{"without a name", archive(t, file("")), "is no relative path"},
		{"double slash", archive(t, dir("d"), file("d//f")), "is no relative path"},
		{"backslash", archive(t, file(`..\f`)), "backslash"},
		{"not UTF-8", archive(t, odd(func(h *tar.Header) { h.Name, h.Format = "f\xff", tar.FormatGNU })), "UTF-8"},
		{"long name", archive(t, file(strings.Repeat("n", 256))), "255 bytes"},
		{"long path", archive(t, file(strings.Repeat("n/", 2048)+"f")), "4096 bytes"},
		{"version control", archive(t, dir(".git"), file(".git/config")), "version control"},
		{"absolute link", archive(t, file("f"), link("l", "/etc/passwd")), "absolute target"},
		{"link out", archive(t, file("f"), link("l", "../f")), "leaves the site"},
		{"link out through a link", archive(t, dir("a"), dir("a/b"), link("a/b/up", "../.."), link("a/b/x", "up/../f")), `".." after a name`},
		{"long form of a link", archive(t, file("f"), link("l", "./f")), "shortest form"},
		{"link without target", archive(t, file("f"), odd(func(h *tar.Header) { h.Name, h.Typeflag, h.Size = "l", tar.TypeSymlink, 0 })), "shortest form"},
		{"file below a link", archive(t, dir("d"), link("l", "d"), file("l/f")), "not in a directory of the site"},
		{"file below a file", archive(t, file("f"), file("f/g")), "not in a directory of the site"},
		{"directory that is not there", archive(t, file("d/f")), "not in a directory of the site"},
		{"hard link", archive(t, file("f"), odd(func(h *tar.Header) { h.Typeflag, h.Name, h.Linkname, h.Size = tar.TypeLink, "g", "f", 0 })), `is of type '1'`},
		{"device", archive(t, odd(func(h *tar.Header) { h.Typeflag, h.Size, h.Devmajor = tar.TypeBlock, 0, 8 })), `is of type '4'`},
		{"pipe", archive(t, odd(func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeFifo, 0 })), `is of type '6'`},
		{"duplicate", archive(t, file("f"), file("f")), "occurs twice"},
		{"wrong order", archive(t, file("g"), file("f")), "not in its place"},
		{"set-user-ID", archive(t, odd(func(h *tar.Header) { h.Mode = 0o4755 })), "canonical"},
		{"time", archive(t, odd(func(h *tar.Header) { h.ModTime = time.Unix(1, 0) })), "canonical"},
		{"owner", archive(t, odd(func(h *tar.Header) { h.Uid = 1 })), "canonical"},
		{"extended attribute", archive(t, odd(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} })), "canonical"},
		{"trailing block", append(bytes.Clone(good), make([]byte, 512)...), "canonical"},
		{"trailing garbage", append(bytes.Clone(good), "garbage"...), "canonical"},
		{"two archives", append(bytes.Clone(good), good...), "canonical"},
		{"without an end", good[:len(good)-1024], "canonical"},
		{"truncated", good[:1600], "EOF"},
		{"no archive", []byte("no archive"), "EOF"},
		{"nothing", nil, "canonical"},
		{"no files", archive(t, dir("d")), "no files"},
		{"too large", archive(t, odd(func(h *tar.Header) { h.Size = 101 })), "larger than the limit of 100 bytes"},
		{"too many", archive(t, file("a"), file("b"), file("c"), file("d"), file("e"), file("f")), "more than 5"},
		{"size without content", archive(t, file("f"))[:512], "EOF"},
		{"bomb", make([]byte, 64<<20), "larger"},
		{"bomb behind the end", append(bytes.Clone(good), make([]byte, 64<<20)...), "larger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packed, id := compress(t, tt.archive)
			refuses(t, packed, id, tt.want)
		})
	}
	packed, id := compress(t, good)
	large, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	for _, tt := range []struct {
		name   string
		packed []byte
		id     string
		want   string
	}{
		{"wrong ID", packed, strings.Repeat("0", 64), "damaged"},
		{"malformed ID", packed, "../" + id, "is not the ID"},
		{"upper case", packed, strings.ToUpper(id), "is not the ID"},
		{"empty", nil, id, "damaged"},
		{"not compressed", good, id, "magic"},
		{"cut", packed[:len(packed)-5], id, "EOF"},
		{"trailing garbage", append(bytes.Clone(packed), "garbage"...), id, "magic"},
		{"another frame", append(bytes.Clone(packed), packed...), id, "damaged"},
		{"window", large.EncodeAll(make([]byte, 100<<20), nil), id, "window"},
	} {
		t.Run("packed "+tt.name, func(t *testing.T) { refuses(t, tt.packed, tt.id, tt.want) })
	}
}

// refuses unpacks with small limits and checks the error, "" for none.
func refuses(t *testing.T, packed []byte, id, want string) {
	t.Helper()
	parent := t.TempDir()
	err := site.Unpack(bytes.NewReader(packed), id, filepath.Join(parent, "site"), site.Limits{Bytes: 100, Files: 5})
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if left := list(t, parent); (len(left) == 0) != (want != "") {
		t.Errorf("left %q", left)
	}
}

func TestUnpackNowhere(t *testing.T) {
	p := pack(t, example(t))
	if err := site.Unpack(bytes.NewReader(p.Data), p.ID, filepath.Join(t.TempDir(), "not", "there"), site.Limits{}); err == nil {
		t.Error("no error")
	}
	if err := site.Unpack(bytes.NewReader(p.Data), p.ID, filepath.Join(t.TempDir(), "x"), site.Limits{Files: -1}); err == nil {
		t.Error("no error")
	}
}

// FuzzUnpack unpacks an archive under its own ID, compressed unless it is already.
// What is unpacked must be the site with that ID, and nothing else may change.
func FuzzUnpack(f *testing.F) {
	p := pack(f, example(f))
	f.Add(p.Data, true)
	f.Add(archive(f, &tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755}, &tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o755, Size: 3},
		&tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "d/f", Mode: 0o777}), false)
	f.Add(archive(f, &tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../..", Mode: 0o777},
		&tar.Header{Typeflag: tar.TypeReg, Name: "l/f", Mode: 0o644}), false)
	f.Add(archive(f, &tar.Header{Typeflag: tar.TypeReg, Name: "../f", Mode: 0o644}), false)
	limits := site.Limits{Bytes: 1 << 20, Files: 100}
	f.Fuzz(func(t *testing.T, data []byte, compressed bool) {
		packed, id := data, exampleID
		if !compressed {
			packed, id = compress(t, data)
		}
		parent := t.TempDir()
		dir := filepath.Join(parent, "site")
		err := site.Unpack(bytes.NewReader(packed), id, dir, limits)
		entries, readErr := os.ReadDir(parent)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if err != nil {
			if len(entries) > 0 {
				t.Fatalf("left %v after %v", entries, err)
			}
			return
		}
		got, err := site.Pack(dir, limits)
		if err != nil || got.ID != id || len(got.Skipped) > 0 || len(entries) != 1 {
			t.Fatalf("unpacked %s, packed %+v: %v", id, got, err)
		}
		for _, e := range got.Entries {
			where, err := filepath.EvalSymlinks(filepath.Join(dir, e.Path))
			if err == nil && where != dir && !strings.HasPrefix(where, dir+"/") {
				t.Errorf("%q is %s", e.Path, where)
			}
		}
	})
}

// TestUnpackNeedsLittleMemory unpacks a site that is larger than what it may
// allocate.
func TestUnpackNeedsLittleMemory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	p := pack(t, dir)
	into := filepath.Join(t.TempDir(), "site")
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err := site.Unpack(bytes.NewReader(p.Data), p.ID, into, site.Limits{}); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := os.RemoveAll(into); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	if got := result.AllocedBytesPerOp(); got > 32<<20 {
		t.Errorf("allocated %d bytes", got)
	}
}
