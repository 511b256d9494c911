package site

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// window is the window of the compression, in bytes. Decompression needs as much
// memory.
const window = 4 << 20

// Packed is a packed site.
type Packed struct {
	ID      string   // for Configuration.Site
	Data    []byte   // the packed site
	Entries []Entry  // sorted by path
	Bytes   int64    // size of all files, not compressed
	Skipped []string // paths that belong to a version control system and are left out
}

// Part returns the part of the packed site that begins at the offset.
func (p *Packed) Part(offset uint64) zeekapi.SitePart {
	size := uint64(len(p.Data))
	from := min(offset, size)
	to := min(size, from+zeekapi.MaxSitePart)
	return zeekapi.SitePart{Site: p.ID, Size: size, Offset: from, Data: string(p.Data[from:to])}
}

// Pack packs the site in a directory. The result is the same for the same files,
// whatever their times and owners, and wherever the directory is. The packed site
// is kept in memory.
//
// Symbolic links inside the site are packed as links. Files and directories of
// version control systems, such as .git, are left out. Pack returns a
// *RefusedError with all problems for links that leave the site or are absolute,
// for devices, sockets and pipes, and for names that not every machine can have.
func Pack(dir string, limits Limits) (*Packed, error) {
	var data bytes.Buffer
	z, err := zstd.NewWriter(&data, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window))
	if err != nil {
		return nil, err
	}
	p, err := identify(dir, limits, z)
	if closeErr := z.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	p.Data = data.Bytes()
	return p, nil
}

// identify reads the site in a directory and writes its canonical archive to w.
// The result has no Data.
func identify(dir string, limits Limits, w io.Writer) (*Packed, error) {
	limits, err := limits.complete()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", dir, reasonOf(err))
	}
	defer root.Close()
	found, err := scanDir(root, limits)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(found.entries, isFile) {
		return nil, fmt.Errorf("site %s: %w", dir, errEmpty)
	}
	hash := sha256.New()
	counted := &limitedWriter{io.MultiWriter(hash, w), limits.archive(), limits.tooLarge()}
	archive := tar.NewWriter(counted)
	for _, e := range found.entries {
		if err := writeEntry(archive, root, e); err != nil {
			return nil, fmt.Errorf("site %s: %w", dir, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("site %s: %w", dir, err)
	}
	return &Packed{
		ID: hex.EncodeToString(hash.Sum(nil)), Entries: found.entries, Bytes: found.bytes, Skipped: found.skipped,
	}, nil
}

var errEmpty = errors.New("there are no files in it")

func isFile(e Entry) bool { return !e.Dir && e.Target == "" }

func writeEntry(w *tar.Writer, root *os.Root, e Entry) error {
	if err := w.WriteHeader(e.header()); err != nil || !isFile(e) {
		return err
	}
	f, err := open(root, e)
	if err != nil {
		return err
	}
	defer f.Close()
	switch n, err := io.Copy(w, f); {
	case errors.Is(err, tar.ErrWriteTooLong), err == nil && n < e.Size:
		return fmt.Errorf("%q: %w", e.Path, errChanged)
	case err != nil:
		return fmt.Errorf("%q: %w", e.Path, reasonOf(err))
	}
	return nil
}

// limitedWriter fails with err instead of writing more than left bytes.
type limitedWriter struct {
	w    io.Writer
	left int64
	err  error
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	if w.left -= int64(len(b)); w.left < 0 {
		return 0, w.err
	}
	return w.w.Write(b)
}
