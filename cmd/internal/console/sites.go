package console

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// uploadedSite is a site that a visitor has uploaded to the controller.
type uploadedSite struct {
	ID      string
	Name    string // of the directory or the archive
	Files   int
	Bytes   uint64
	Skipped []string // of version control
}

// maxUploads limits the sites that visitors upload at the same time.
const maxUploads = 4

// uploads counts uploads by visitor.
type uploads struct {
	mu sync.Mutex
	by map[string]bool
}

// enter begins the upload of a visitor, until leave is called.
func (u *uploads) enter(key string) (leave func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[key] || len(u.by) >= maxUploads {
		return nil, &failure{http.StatusTooManyRequests, "Another site is being uploaded. Try again when that has ended."}
	}
	if u.by == nil {
		u.by = make(map[string]bool)
	}
	u.by[key] = true
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.by, key)
	}, nil
}

// staging is a temporary directory with the files of a site that a visitor uploads. It
// trusts no name: all files are created below the directory.
type staging struct {
	dir    string
	root   *os.Root
	limits site.Limits
	bytes  int64
	files  int
	name   string // of what was uploaded
	leave  func() // called at the end, if non-nil

	archived bool // the files come from an archive
}

// newStaging returns an empty directory with these limits, which must be positive. It must be
// closed.
func newStaging(limits site.Limits) (*staging, error) {
	dir, err := os.MkdirTemp("", "zeekwire-site-")
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &staging{dir: dir, root: root, limits: limits}, nil
}

// close removes the directory.
func (s *staging) close() {
	_ = errors.Join(s.root.Close(), os.RemoveAll(s.dir))
	if s.leave != nil {
		s.leave()
	}
}

// siteFailure is an error about an uploaded site.
func siteFailure(format string, args ...any) error {
	return &failure{http.StatusUnprocessableEntity, "The site cannot be used: " + fmt.Sprintf(format, args...) + "."}
}

// tooLarge returns the error about a site whose files are larger than the limit.
func (s *staging) tooLarge() error {
	return siteFailure("it is larger than %s", bytesText(uint64(s.limits.Bytes)))
}

// notCreated returns the error about a file of a site that cannot be created.
func notCreated(name string, err error) error {
	return siteFailure("%q cannot be created: %v", name, reason(err))
}

// versionControl are the directories that are no part of a site.
var versionControl = []string{".git", ".hg", ".svn"}

// accept checks a name, and returns it as a path below the directory. It returns "" for a
// file that is no part of a site.
func (s *staging) accept(name string) (string, error) {
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	switch parts := strings.Split(clean, "/"); {
	case clean == ".":
		return "", nil
	case !fs.ValidPath(clean) || strings.Contains(name, `\`) || strings.ContainsRune(name, 0):
		return "", siteFailure("%.200q is no path inside of a directory", name)
	case slices.ContainsFunc(parts, func(part string) bool { return slices.Contains(versionControl, part) }):
		return "", nil
	}
	if s.files++; s.files > s.limits.Files {
		return "", siteFailure("it has more than %d files and directories", s.limits.Files)
	}
	return clean, nil
}

// add creates a file, and the directories above it.
func (s *staging) add(name string, executable bool, content io.Reader) error {
	clean, err := s.accept(name)
	if clean == "" {
		return err
	}
	mode := fs.FileMode(0o600)
	if executable {
		mode = 0o700
	}
	if err := s.root.MkdirAll(path.Dir(clean), 0o700); err != nil {
		return notCreated(clean, err)
	}
	f, err := s.root.OpenFile(clean, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return notCreated(clean, err)
	}
	n, err := io.Copy(f, io.LimitReader(content, s.limits.Bytes-s.bytes+1))
	s.bytes += n
	switch err = errors.Join(err, f.Close()); {
	case err != nil:
		return err
	case s.bytes > s.limits.Bytes:
		return s.tooLarge()
	}
	return nil
}

// reason returns the reason of an error about a file, without its path.
func reason(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	if l := (*os.LinkError)(nil); errors.As(err, &l) {
		return l.Err
	}
	return err
}

// addDirectory creates a directory.
func (s *staging) addDirectory(name string) error {
	clean, err := s.accept(name)
	if clean == "" {
		return err
	}
	if err := s.root.MkdirAll(clean, 0o700); err != nil {
		return notCreated(clean, err)
	}
	return nil
}

// link creates a symbolic link. site.Pack refuses one that leaves the site.
func (s *staging) link(name, target string) error {
	clean, err := s.accept(name)
	if clean == "" {
		return err
	}
	err = s.root.MkdirAll(path.Dir(clean), 0o700)
	if err == nil {
		err = s.root.Symlink(target, clean)
	}
	if err != nil {
		return notCreated(clean, err)
	}
	return nil
}

// unpack unpacks an archive: tar, also compressed with gzip or zstd, or zip.
func (s *staging) unpack(name string, in io.Reader) error {
	r := bufio.NewReader(in)
	head, err := r.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.name, s.archived = name, true
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return s.unzip(r)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(r)
		if err != nil {
			return siteFailure("%q is no archive: %v", name, err)
		}
		return s.untar(name, z)
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(64<<20))
		if err != nil {
			return siteFailure("%q is no archive: %v", name, err)
		}
		defer z.Close()
		return s.untar(name, z)
	}
	return s.untar(name, r)
}

// untar unpacks a tar archive. Reading ends at limits, so that a small archive cannot become
// a large one.
func (s *staging) untar(name string, in io.Reader) error {
	const perEntry = 8 << 10 // headers, also long names
	limited := &io.LimitedReader{R: in, N: s.limits.Bytes + int64(s.limits.Files)*perEntry}
	archive := tar.NewReader(limited)
	for {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && limited.N == 0:
			return s.tooLarge()
		case isTooLarge(err):
			return err
		case err != nil:
			return siteFailure("%q is no archive that can be read (tar, tar.gz, tar.zst or zip): %v", name, err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = s.addDirectory(h.Name)
		case tar.TypeReg:
			err = s.add(h.Name, h.Mode&0o111 != 0, archive)
		case tar.TypeSymlink:
			err = s.link(h.Name, h.Linkname)
		case tar.TypeXGlobalHeader: // of "git archive"
		default:
			err = siteFailure("%.200q is neither a file, a directory nor a symbolic link", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

// unzip unpacks a zip archive. Its table is at its end, so it is stored first.
func (s *staging) unzip(in io.Reader) error {
	f, err := os.CreateTemp("", "zeekwire-zip-")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	size, err := io.Copy(f, io.LimitReader(in, s.limits.Bytes+1))
	switch {
	case err != nil:
		return err
	case size > s.limits.Bytes:
		return s.tooLarge()
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return siteFailure("the archive cannot be read: %v", err)
	}
	for _, e := range archive.File {
		if err := s.addZipped(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *staging) addZipped(e *zip.File) error {
	mode := e.Mode()
	if mode.IsDir() {
		return s.addDirectory(e.Name)
	}
	content, err := e.Open()
	if err != nil {
		return siteFailure("%.200q cannot be read: %v", e.Name, err)
	}
	defer content.Close()
	switch mode.Type() {
	case 0:
		if err := s.add(e.Name, mode&0o111 != 0, content); err != nil {
			if f := (*failure)(nil); !errors.As(err, &f) {
				err = siteFailure("%.200q cannot be read: %v", e.Name, err)
			}
			return err
		}
		return nil
	case fs.ModeSymlink:
		const longest = 4096
		target, err := io.ReadAll(io.LimitReader(content, longest))
		if err != nil {
			return siteFailure("%.200q cannot be read: %v", e.Name, err)
		}
		return s.link(e.Name, string(target))
	}
	return siteFailure("%.200q is neither a file, a directory nor a symbolic link", e.Name)
}

// isTooLarge reports whether reading ended because the request is too large.
func isTooLarge(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}

// packed is a packed site, with its description and with warnings for the visitor.
type packed struct {
	*site.Packed
	uploadedSite
	warnings []string
}

// pack packs the site. If everything is in one directory, that is the site: browsers name
// the chosen directory, and so do most archives.
func (s *staging) pack() (*packed, error) {
	dir := s.dir
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) == 1 && entries[0].IsDir() {
		dir += "/" + entries[0].Name()
	}
	p, err := site.Pack(dir, s.limits)
	if err != nil {
		return nil, siteFailure("%s", strings.TrimPrefix(strings.ReplaceAll(err.Error(), dir, s.name), "site "))
	}
	out := &packed{Packed: p, uploadedSite: uploadedSite{ID: p.ID, Name: s.name, Bytes: uint64(p.Bytes), Skipped: p.Skipped}}
	for _, e := range p.Entries {
		if !e.Dir && e.Target == "" {
			out.Files++
		}
	}
	plugins, err := site.Plugins(dir, s.limits)
	if err != nil {
		out.warnings = append(out.warnings, err.Error())
	}
	for _, x := range plugins {
		out.warnings = append(out.warnings, x.String()+"; it does not run with other versions of Zeek or on other architectures")
	}
	return out, nil
}
