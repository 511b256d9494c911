// Package version knows what program this is.
package version

import (
	"regexp"
	"runtime/debug"
)

// release is set by the linker (make build VERSION=v1.2.3), which counts for
// more than what the Go command knows.
var release string

// unreleased is what the Go command calls a checkout that follows no release:
// the revision says all of it, and leaves room for others in a table.
var unreleased = regexp.MustCompile(`^v0\.0\.0-\d{14}-([0-9a-f]{12})`)

// String returns the version of the program: that of the release, or of the
// module that was installed or checked out, "devel" if there is no telling.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return of(release, info)
}

func of(release string, info *debug.BuildInfo) string {
	if release != "" {
		return release
	}
	if info == nil {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return unreleased.ReplaceAllString(v, "devel-$1")
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
