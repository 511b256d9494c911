package site

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// tempPrefix begins the names of directories that are not complete.
const tempPrefix = ".unpack-"

// Unpack unpacks a packed site into a new directory, which must not exist. Either
// the whole site with the given ID becomes visible there, durably, or nothing.
//
// Unpack accepts exactly what Pack makes. It does not trust the packed data: it
// refuses paths and links that leave the directory, files of other kinds,
// duplicates, and data after the end, and it stops as soon as a limit is exceeded.
// Its memory does not grow with the site.
//
// The unpacked files are read-only. Everybody who may read the parent directory may
// read them.
func Unpack(packed io.Reader, id, dir string, limits Limits) (err error) {
	parent := filepath.Dir(dir)
	temp, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return fmt.Errorf("site: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	root, err := os.OpenRoot(temp)
	if err != nil {
		return fmt.Errorf("site: %w", err)
	}
	defer root.Close()
	if _, err := read(packed, id, limits, func(e Entry, content io.Reader) error { return create(root, e, content) }); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	if err := syncTree(temp); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("site: %s exists", dir) // Rename replaces an empty directory
	}
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	return syncDir(parent)
}

// create creates an entry in an unpacked site.
func create(root *os.Root, e Entry, content io.Reader) error {
	name := filepath.FromSlash(e.Path)
	switch {
	case e.Dir:
		if err := root.Mkdir(name, 0o755); err != nil {
			return err
		}
		return root.Chmod(name, 0o755)
	case e.Target != "":
		return root.Symlink(e.Target, name)
	}
	mode := os.FileMode(0o444)
	if e.Executable {
		mode = 0o555
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

// syncDir makes changes of a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// verify reads a packed site without unpacking it, and returns the size of all its
// files.
func verify(packed io.Reader, id string, limits Limits) (bytes int64, err error) {
	return read(packed, id, limits, func(Entry, io.Reader) error { return nil })
}

// read reads a packed site, calls each for every entry, and returns the size of
// all files. What each is called with is only proven to be the site with that ID if
// read succeeds.
func read(packed io.Reader, id string, limits Limits, each func(Entry, io.Reader) error) (bytes int64, err error) {
	limits, err = limits.complete()
	if err != nil {
		return 0, err
	}
	if !zeekapi.ValidSite(id) {
		return 0, fmt.Errorf("site: %q is not the ID of a site", clip(id))
	}
	z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(2*window))
	if err != nil {
		return 0, fmt.Errorf("site: %w", err)
	}
	defer z.Close()
	r := newReader(z, limits)
	if err = r.entries(each); err == nil {
		err = r.end(id)
	}
	if err != nil {
		return 0, fmt.Errorf("site %s: %w", short(id), err)
	}
	return r.bytes, nil
}

// short abbreviates an ID for messages.
func short(id string) string { return id[:min(len(id), 12)] }

// reader reads an archive. It writes the entries that it accepts to an archive of
// its own, in the canonical form, so that two equal hashes prove that the archive
// has nothing else.
type reader struct {
	limits    Limits
	in        io.Reader // all bytes of the archive
	out       *tar.Writer
	given     sum
	canonical sum

	last  string          // path of the last entry
	dirs  map[string]bool // directories so far
	count int
	bytes int64
	files bool // there is a file
}

// sum is a SHA-256 that is being computed.
type sum interface {
	io.Writer
	Sum([]byte) []byte
}

func newReader(archive io.Reader, limits Limits) *reader {
	r := &reader{limits: limits, given: sha256.New(), canonical: sha256.New(), dirs: map[string]bool{".": true}}
	r.in = io.TeeReader(&limitedReader{archive, limits.archive(), limits.tooLarge()}, r.given)
	r.out = tar.NewWriter(r.canonical)
	return r
}

func (r *reader) entries(each func(Entry, io.Reader) error) error {
	archive := tar.NewReader(r.in)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := r.accept(h)
		if err != nil {
			return err
		}
		if err := r.out.WriteHeader(e.header()); err != nil {
			return err
		}
		content := io.TeeReader(archive, r.out)
		if err := each(e, content); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
	}
}

// accept returns the entry of a header if it may follow the entries before.
func (r *reader) accept(h *tar.Header) (Entry, error) {
	e, err := entryOf(h)
	if err != nil {
		return e, err
	}
	if r.count++; r.count > r.limits.Files {
		return e, r.limits.tooMany()
	}
	if r.bytes += e.Size; e.Size > r.limits.Bytes || r.bytes > r.limits.Bytes {
		return e, r.limits.tooLarge()
	}
	switch {
	case e.Path <= r.last:
		return e, fmt.Errorf("%q is not in its place, or occurs twice", clip(e.Path))
	case !r.dirs[path.Dir(e.Path)]:
		return e, fmt.Errorf("%q is not in a directory of the site", clip(e.Path))
	case e.Dir:
		r.dirs[e.Path] = true
	}
	r.last = e.Path
	r.files = r.files || isFile(e)
	return e, nil
}

// end reads the end of the archive and compares the hashes.
func (r *reader) end(id string) error {
	if err := r.out.Close(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.in); err != nil {
		return err
	}
	given, canonical := hex.EncodeToString(r.given.Sum(nil)), hex.EncodeToString(r.canonical.Sum(nil))
	switch {
	case given != id:
		return fmt.Errorf("damaged: the content has the SHA-256 %s", given)
	case canonical != id:
		return errors.New("not in the canonical form")
	case !r.files:
		return errEmpty
	}
	return nil
}

// limitedReader fails with err instead of reading more than left bytes.
type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (r *limitedReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b[:min(int64(len(b)), r.left+1)])
	if r.left -= int64(n); r.left < 0 {
		return 0, r.err
	}
	return n, err
}
