package archive

import (
	"compress/gzip"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Compression is a kind of compression of archived logs. The zero value means Gzip.
type Compression string

// The kinds.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
	None Compression = "none" // logs are stored as they are
)

// compressions are all kinds.
var compressions = []Compression{Gzip, Zstd, None}

// check returns an error for an unknown kind.
func (c Compression) check() error {
	if c != "" && !slices.Contains(compressions, c) {
		return fmt.Errorf("unknown compression %q", string(c))
	}
	return nil
}

// extension returns the end of the names of compressed files.
func (c Compression) extension() string {
	switch c {
	case Zstd:
		return ".zst"
	case None:
		return ""
	}
	return ".gz"
}

// encode writes a log in the archive's format and returns the size of the log. A log that
// is compressed already is copied.
func (c Compression) encode(w io.Writer, log io.Reader, r rotated) (size int64, err error) {
	if r.compressed() || c == None {
		return io.Copy(w, log)
	}
	var z io.WriteCloser = gzip.NewWriter(w)
	if c == Zstd {
		// One goroutine at a time: archiving must not compete with nodes for processors.
		if z, err = zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); err != nil {
			return 0, err
		}
	}
	if size, err = io.Copy(z, log); err != nil {
		_ = z.Close() // it must release its memory; the first error counts
		return size, err
	}
	return size, z.Close()
}

// decode returns the content of a log that encode wrote. The caller must call done
// afterwards.
func (c Compression) decode(archived io.Reader, r rotated) (content io.Reader, done func(), err error) {
	switch {
	case r.compressed() || c == None:
		return archived, func() {}, nil
	case c == Zstd:
		z, err := zstd.NewReader(archived, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	z, err := gzip.NewReader(archived)
	return z, func() {}, err
}
