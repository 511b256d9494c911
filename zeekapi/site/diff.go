package site

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"
)

// The limits of Diff.
const (
	maxDiffFile = 1 << 20 // size of a file whose lines are compared, in bytes
	maxDiffText = 4 << 20 // size of all texts, in bytes
)

// The kinds of a Change.
const (
	Added   = "added"
	Removed = "removed"
	Changed = "changed"
)

// Change is a difference between two sites.
type Change struct {
	Path string
	Kind string // Added, Removed or Changed

	// Text is a unified diff of a changed text file. It is "" for other files, and
	// if the file or all texts together would be too large.
	Text string

	// Note describes a change that Text does not show, such as "binary file" or
	// "now executable". It may be "".
	Note string
}

// Diff compares the sites in two directories and returns the changes, sorted by
// path. An empty name stands for a site without files. Directories are not
// listed.
func Diff(old, new string, limits Limits) ([]Change, error) {
	limits, err := limits.complete()
	if err != nil {
		return nil, err
	}
	a, err := openTree(old, limits)
	if err != nil {
		return nil, err
	}
	defer a.close()
	b, err := openTree(new, limits)
	if err != nil {
		return nil, err
	}
	defer b.close()
	return compare(a, b)
}

// tree is a site in a directory.
type tree struct {
	root    *os.Root // nil for none
	entries []Entry  // without directories
}

func openTree(dir string, limits Limits) (*tree, error) {
	if dir == "" {
		return &tree{}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("site %s: %w", dir, reasonOf(err))
	}
	found, err := scanDir(root, limits)
	if err != nil {
		root.Close()
		return nil, err
	}
	t := &tree{root: root}
	for _, e := range found.entries {
		if !e.Dir {
			t.entries = append(t.entries, e)
		}
	}
	return t, nil
}

func (t *tree) close() {
	if t.root != nil {
		t.root.Close()
	}
}

// compare merges the sorted entries of two trees.
func compare(old, new *tree) ([]Change, error) {
	var all []Change
	left := maxDiffText
	a, b := old.entries, new.entries
	for len(a)+len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			all = append(all, Change{Path: a[0].Path, Kind: Removed})
			a = a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			all = append(all, Change{Path: b[0].Path, Kind: Added})
			b = b[1:]
		default:
			c, err := compareEntry(old.root, a[0], new.root, b[0], &left)
			if err != nil {
				return nil, err
			}
			if c.Text != "" || c.Note != "" {
				all = append(all, c)
			}
			a, b = a[1:], b[1:]
		}
	}
	return all, nil
}

// compareEntry compares two entries with the same path. A change without Text and
// Note is none. It takes the size of the text from left.
func compareEntry(oldRoot *os.Root, a Entry, newRoot *os.Root, b Entry, left *int) (Change, error) {
	c := Change{Path: a.Path, Kind: Changed}
	switch {
	case isFile(a) != isFile(b):
		c.Note = "symbolic link instead of a file"
		if isFile(b) {
			c.Note = "file instead of a symbolic link"
		}
		return c, nil
	case !isFile(a):
		if a.Target != b.Target {
			c.Note = fmt.Sprintf("symbolic link to %s instead of %s", b.Target, a.Target)
		}
		return c, nil
	case a.Executable && !b.Executable:
		c.Note = "no longer executable"
	case !a.Executable && b.Executable:
		c.Note = "now executable"
	}
	if a.Size > maxDiffFile || b.Size > maxDiffFile {
		same, err := sameContent(oldRoot, a, newRoot, b)
		if err == nil && !same {
			c.Note = "too large to compare its lines"
		}
		return c, err
	}
	return c, c.compareLines(oldRoot, a, newRoot, b, left)
}

func (c *Change) compareLines(oldRoot *os.Root, a Entry, newRoot *os.Root, b Entry, left *int) error {
	old, err := content(oldRoot, a)
	if err != nil {
		return err
	}
	new, err := content(newRoot, b)
	if err != nil {
		return err
	}
	switch {
	case bytes.Equal(old, new):
	case !isText(old) || !isText(new):
		c.Note = "binary file"
	default:
		text := diff.Diff("a/"+a.Path, old, "b/"+b.Path, new)
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest // without the line "diff a b"
		}
		if len(text) > *left {
			c.Note = "not shown, because there are too many changes"
			return nil
		}
		*left -= len(text)
		c.Text = string(text)
	}
	return nil
}

func isText(b []byte) bool { return utf8.Valid(b) && !bytes.Contains(b, []byte{0}) }

// content returns the content of a small file.
func content(root *os.Root, e Entry) ([]byte, error) {
	f, err := open(root, e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxDiffFile+1))
}

// sameContent compares two files of any size.
func sameContent(oldRoot *os.Root, a Entry, newRoot *os.Root, b Entry) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	x, err := open(oldRoot, a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := open(newRoot, b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	const block = 64 << 10
	p, q := make([]byte, block), make([]byte, block)
	for left := a.Size; left > 0; left -= block {
		n := min(left, block)
		if _, err := io.ReadFull(x, p[:n]); err != nil {
			return false, fmt.Errorf("%q: %w", a.Path, err)
		}
		if _, err := io.ReadFull(y, q[:n]); err != nil {
			return false, fmt.Errorf("%q: %w", b.Path, err)
		}
		if !bytes.Equal(p[:n], q[:n]) {
			return false, nil
		}
	}
	return true, nil
}
