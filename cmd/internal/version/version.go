// Package version returns the version of the program.
package version

import (
	"regexp"
	"runtime"
	"runtime/debug"
	"sync"
)

// release is set by the linker (make build VERSION=v1.2.3). It overrides the
// version known to the Go command.
var release string

// unreleased matches the version of a checkout without a release. Only its
// revision is shown, to save space in tables.
var unreleased = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^v0\.0\.0-\d{14}-([0-9a-f]{12})`) })

// String returns the version of the program: that of the release, or of the
// module that was installed or checked out, "devel" if unknown.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return of(release, info)
}

// A Build is the origin of a program.
type Build struct {
	Version  string `json:"version"`            // as String returns it
	Revision string `json:"revision,omitempty"` // of the source, in version control; empty if unknown
	Modified bool   `json:"modified"`           // the source differed from the revision
	Go       string `json:"go"`                 // version of the compiler
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// Details returns the origin of the program.
func Details() Build {
	info, _ := debug.ReadBuildInfo()
	return detailsOf(release, info)
}

func detailsOf(release string, info *debug.BuildInfo) Build {
	b := Build{Version: of(release, info), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info == nil {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func of(release string, info *debug.BuildInfo) string {
	if release != "" {
		return release
	}
	if info == nil {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return unreleased().ReplaceAllString(v, "devel-$1")
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = "-" + s.Value[:min(len(s.Value), 12)]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+dirty"
			}
		}
	}
	return "devel" + revision + modified
}
