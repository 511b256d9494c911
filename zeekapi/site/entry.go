package site

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The longest names, in bytes, as Linux has them.
const (
	maxName = 255
	maxPath = 4096
)

// Entry is a directory, a regular file or a symbolic link of a site.
type Entry struct {
	Path       string // relative to the site, with slashes
	Dir        bool
	Size       int64  // of a file, in bytes
	Executable bool   // of a file
	Target     string // of a symbolic link, relative to its directory; "" for others
}

// versionControl lists the names of files and directories that are no part of a
// site.
var versionControl = []string{".git", ".hg", ".svn"}

// header returns the header of the entry in the canonical archive.
func (e Entry) header() *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Mode: 0o644, Size: e.Size}
	switch {
	case e.Dir:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.Path+"/", 0o755
	case e.Target != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.Target, 0o777
	case e.Executable:
		h.Mode = 0o755
	}
	return h
}

// entryOf returns the entry of a header. Unpack checks elsewhere that the header
// has nothing else.
func entryOf(h *tar.Header) (Entry, error) {
	e := Entry{Path: h.Name}
	problem := ""
	switch h.Typeflag {
	case tar.TypeDir:
		e.Path, e.Dir = strings.TrimSuffix(h.Name, "/"), true
	case tar.TypeSymlink:
		e.Target = h.Linkname
	case tar.TypeReg:
		e.Size, e.Executable = h.Size, h.Mode&0o111 != 0
	default:
		problem = fmt.Sprintf("is of type %q, want a directory, file or symbolic link", h.Typeflag)
	}
	if problem == "" {
		problem = checkPath(e.Path)
	}
	if problem == "" && h.Typeflag == tar.TypeSymlink {
		problem = checkTarget(e.Path, e.Target)
	}
	if problem != "" {
		return e, fmt.Errorf("%q %s", clip(e.Path), problem)
	}
	return e, nil
}

// checkPath returns what is wrong with a path of a site, or "".
func checkPath(name string) string {
	switch {
	case len(name) > maxPath:
		return fmt.Sprintf("has a path of more than %d bytes", maxPath)
	case name == ".", !fs.ValidPath(name) && utf8.ValidString(name):
		return "is no relative path"
	}
	for part := range strings.SplitSeq(name, "/") {
		if problem := checkName(part); problem != "" {
			return problem
		}
		if slices.Contains(versionControl, part) {
			return "belongs to a version control system"
		}
	}
	return ""
}

// checkName returns what is wrong with a part of a path, or "".
func checkName(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("has a name of more than %d bytes", maxName)
	case !utf8.ValidString(name):
		return "has a name that is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "has a name with control characters"
	case strings.Contains(name, `\`):
		return "has a name with a backslash"
	}
	return ""
}

// checkTarget returns what is wrong with the target of a symbolic link, or "".
func checkTarget(link, target string) string {
	for part := range strings.SplitSeq(target, "/") {
		if problem := checkName(part); problem != "" {
			return problem + " in its target"
		}
	}
	switch {
	case path.IsAbs(target):
		return "is a symbolic link with an absolute target"
	case len(target) > maxPath:
		return fmt.Sprintf("is a symbolic link with a target of more than %d bytes", maxPath)
	case climbsLate(target):
		return climbsLateText
	case target != path.Clean(target):
		return "is a symbolic link with a target that is not in its shortest form"
	case !fs.ValidPath(path.Join(path.Dir(link), target)):
		return "is a symbolic link that leaves the site"
	}
	return ""
}

const climbsLateText = `is a symbolic link with ".." after a name`

// climbsLate reports whether the target of a symbolic link has ".." after a name.
// The ".." at its beginning lead to where they seem to, because the directory of
// the link is a real one. Behind a name they could follow another link first, and
// leave the site.
func climbsLate(target string) bool {
	named := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}

// clip shortens a text that may be hostile.
func clip(s string) string {
	const longest = 200
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}
