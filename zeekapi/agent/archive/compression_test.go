package archive

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Each kind of compression has its own extension, and logs that are compressed already are
// copied.
func TestCompression(t *testing.T) {
	for kind, extension := range map[Compression]string{"": ".gz", Gzip: ".gz", Zstd: ".zst", None: ""} {
		t.Run(string(kind), func(t *testing.T) {
			p := newPlace(t)
			p.Compression = kind
			content := strings.Repeat("a line of a log\n", 10_000)
			p.put(connName, content)
			p.put(strings.Replace(connName, "conn", "dns", 1)+".gz", zip("compressed already"))
			p.once(t.Context())
			goal := filepath.Join(p.Dir, strings.TrimSuffix(connGoal, ".gz")+extension)
			b, err := os.ReadFile(goal)
			if err != nil {
				t.Fatal(err)
			}
			if (len(b) < len(content)/10) != (kind != None) {
				t.Errorf("the log has %d bytes in the archive, and %d before", len(b), len(content))
			}
			if got := uncompressed(t, kind, b); got != content {
				t.Errorf("the archived log is not the log: %d bytes", len(got))
			}
			copied, err := os.ReadFile(filepath.Join(p.Dir, "2026-11-22/dns.09:00:00-10:00:00.log.gz"))
			if err != nil || string(copied) != zip("compressed already") {
				t.Errorf("the log that was compressed already: %q, %v", copied, err)
			}
		})
	}
}

func uncompressed(t *testing.T, kind Compression, b []byte) string {
	t.Helper()
	var err error
	switch kind {
	case None:
	case Zstd:
		d, newErr := zstd.NewReader(nil)
		if newErr != nil {
			t.Fatal(newErr)
		}
		defer d.Close()
		b, err = d.DecodeAll(b, nil)
	default:
		b, err = unzip(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Other programs can read what we compress with Zstandard.
func TestZstdProgram(t *testing.T) {
	program, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd program")
	}
	p := newPlace(t)
	p.Compression = Zstd
	p.put(connName, random(1<<20))
	p.once(t.Context())
	out, err := exec.Command(program, "-dc", filepath.Join(p.Dir, strings.TrimSuffix(connGoal, ".gz")+".zst")).Output()
	if err != nil || !bytes.Equal(out, []byte(random(1<<20))) {
		t.Errorf("zstd returned %d bytes, %v", len(out), err)
	}
}

// A log that was archived, but not removed from the queue, is not archived again with
// another kind of compression.
func TestChangedCompression(t *testing.T) {
	for _, before := range compressions {
		for _, after := range compressions {
			p := newPlace(t)
			p.Compression = before
			p.put(connName, "one\n")
			p.once(t.Context())
			archived := p.archived()
			p.Compression = after
			p.put(connName, "one\n")
			p.once(t.Context())
			p.expect(string(before+" then "+after), archived)
			p.put(connName, "two\n")
			p.once(t.Context())
			if n := len(p.archived()); n != 2 {
				t.Errorf("%s, then %s: %d logs are in the archive, want 2", before, after, n)
			}
		}
	}
}
