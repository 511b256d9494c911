package loaded

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// Limits of the content that one Look reads.
const (
	maxHashed  = 16 << 20  // of a file
	maxContent = 256 << 20 // of all files
)

// Look is one examination of files. It examines each file once, even if several nodes have
// loaded it. Its methods must not be called concurrently.
type Look struct {
	ctx    context.Context
	stats  map[string]status
	hashes map[string]string
	budget int64
}

// status is the state of a file.
type status struct {
	size, modTime int64
	err           error
}

// NewLook returns a Look that stops reading when ctx ends. Then its results are not valid.
func NewLook(ctx context.Context) *Look {
	return &Look{ctx: ctx, stats: make(map[string]status), hashes: make(map[string]string), budget: maxContent}
}

// Take returns the fingerprints of files that a node loaded after it started at began.
// Files that changed since then count as edited; a zero began means that the time is
// unknown. Times in the future say nothing: a file server may have another clock. Take omits files that do not exist, such as scripts that a plugin contains.
func (k *Look) Take(paths []string, began time.Time) []File {
	now := time.Now().UnixNano()
	files := make([]File, 0, len(paths))
	for _, path := range paths {
		s := k.stat(path)
		if s.err != nil {
			continue
		}
		files = append(files, File{
			Path: path, Size: s.size, ModTime: s.modTime, Hash: k.hash(path, s.size),
			Edited: !began.IsZero() && s.modTime > began.UnixNano() && s.modTime <= now,
		})
	}
	return files
}

// Changed returns the paths of the files that have been removed, or whose content has
// changed, in the order of files. For a file that was only touched it updates ModTime, so
// that the next Look need not read it.
func (k *Look) Changed(files []File) []string {
	var changed []string
	for i := range files {
		if f := &files[i]; k.changed(f) {
			changed = append(changed, f.Path)
		}
	}
	return changed
}

func (k *Look) changed(f *File) bool {
	if f.Edited {
		return true
	}
	s := k.stat(f.Path)
	switch {
	case s.err != nil:
		return gone(s.err)
	case s.size != f.Size:
		return true
	case s.modTime == f.ModTime:
		return false
	case f.Hash == "" || k.hash(f.Path, s.size) != f.Hash:
		return true
	}
	f.ModTime = s.modTime
	return false
}

// gone reports whether an error means that there is no such script any more. Others may
// be failures of a moment.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) || errors.Is(err, errNotRegular)
}

func (k *Look) stat(path string) status {
	s, ok := k.stats[path]
	if !ok {
		if info, err := statRegular(path); err != nil {
			s.err = err
		} else {
			s.size, s.modTime = info.Size(), info.ModTime().UnixNano()
		}
		k.stats[path] = s
	}
	return s
}

// hash returns the hash of a file, "" if it cannot be read or exceeds the limits.
func (k *Look) hash(path string, size int64) string {
	if h, ok := k.hashes[path]; ok {
		return h
	}
	var h string
	if size <= min(maxHashed, k.budget) && k.ctx.Err() == nil {
		h = hashFile(path)
		k.budget -= size
	}
	k.hashes[path] = h
	return h
}

func hashFile(path string) string {
	f, err := openRegular(path, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.Copy(h, io.LimitReader(f, maxHashed+1)); err != nil || n > maxHashed {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
