package site

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// RefusedError is the error about a directory that cannot be a site. It lists all
// problems, by path.
type RefusedError struct {
	Dir      string
	Problems []Problem
}

// Unwrap returns the problems.
func (e *RefusedError) Unwrap() []error {
	all := make([]error, len(e.Problems))
	for i := range e.Problems {
		all[i] = &e.Problems[i]
	}
	return all
}

// Problem is the error about a file that cannot be part of a site.
type Problem struct {
	Path string // relative to the site
	Text string // such as "is a device"
}

// Error returns the path and the text.
func (p *Problem) Error() string { return fmt.Sprintf("%q %s", clip(p.Path), p.Text) }

// maxProblems limits the problems that the text of a RefusedError lists.
const maxProblems = 50

// Error lists the problems, one a line if there are several.
func (e *RefusedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "site %s:", e.Dir)
	for i, p := range e.Problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Problems)-i)
			break
		}
		separator := "\n  "
		if len(e.Problems) == 1 {
			separator = " "
		}
		b.WriteString(separator + p.Error())
	}
	return b.String()
}

// scan is what a directory has for a site.
type scan struct {
	entries []Entry  // sorted by path
	skipped []string // of version control
	bytes   int64    // of all files
}

// scanner walks through a directory.
type scanner struct {
	scan
	root     *os.Root
	limits   Limits
	problems []Problem
}

// scanDir lists the entries of a directory. It returns a *RefusedError if some of
// them cannot be part of a site.
func scanDir(root *os.Root, limits Limits) (scan, error) {
	s := scanner{root: root, limits: limits}
	err := fs.WalkDir(root.FS(), ".", s.visit)
	switch {
	case err != nil:
		return scan{}, fmt.Errorf("site %s: %w", root.Name(), err)
	case len(s.problems) > 0:
		return scan{}, &RefusedError{root.Name(), s.problems}
	}
	slices.SortFunc(s.entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return s.scan, nil
}

func (s *scanner) visit(name string, d fs.DirEntry, err error) error {
	switch {
	case name == "." && err != nil:
		return reasonOf(err)
	case name == ".":
		return nil
	case err != nil:
		s.problem(name, "cannot be read: %v", reasonOf(err))
		return nil
	case slices.Contains(versionControl, d.Name()):
		s.skipped = append(s.skipped, name)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	if len(s.entries)+len(s.problems) >= s.limits.Files {
		return s.limits.tooMany()
	}
	if problem := checkPath(name); problem != "" {
		s.problem(name, "%s", problem)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	return s.add(name, d)
}

// add adds an entry with a valid name.
func (s *scanner) add(name string, d fs.DirEntry) error {
	e := Entry{Path: name}
	switch d.Type() {
	case fs.ModeDir:
		e.Dir = true
	case fs.ModeSymlink:
		var ok bool
		if e.Target, ok = s.target(name); !ok {
			return nil
		}
	case 0:
		info, err := d.Info()
		if err != nil {
			s.problem(name, "cannot be read: %v", reasonOf(err))
			return nil
		}
		e.Size, e.Executable = info.Size(), info.Mode()&0o111 != 0
		if s.bytes += e.Size; s.bytes > s.limits.Bytes {
			return s.limits.tooLarge()
		}
	default:
		s.problem(name, "is %s", kindOf(d.Type()))
		return nil
	}
	s.entries = append(s.entries, e)
	return nil
}

// target returns the target of a symbolic link, in its shortest form. It reports a
// problem and returns false if there is one.
func (s *scanner) target(name string) (string, bool) {
	target, err := s.root.Readlink(name)
	if err != nil {
		s.problem(name, "cannot be read: %v", reasonOf(err))
		return "", false
	}
	clean := path.Clean(target) // hides ".." after a name
	problem := checkTarget(name, clean)
	if climbsLate(target) {
		problem = climbsLateText
	}
	if problem != "" {
		s.problem(name, "%s: %q", problem, clip(target))
		return "", false
	}
	return clean, true
}

func (s *scanner) problem(name, format string, args ...any) {
	s.problems = append(s.problems, Problem{name, fmt.Sprintf(format, args...)})
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	}
	return "neither a directory nor a file"
}

// open opens a file of a directory for reading. It does not wait for the writer of
// a pipe that has taken the place of the file.
func open(root *os.Root, e Entry) (io.ReadCloser, error) {
	f, err := root.OpenFile(filepath.FromSlash(e.Path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be read: %w", e.Path, reasonOf(err))
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != e.Size) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%q: %w", e.Path, err)
	}
	return f, nil
}

var errChanged = errors.New("changed while it was read")

// reasonOf returns the reason of a file error without operation and path.
func reasonOf(err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}
