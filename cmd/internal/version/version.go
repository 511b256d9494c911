// Package version returns the version of the program.
package version

import (
	"regexp"
	"runtime/debug"
)

// release is set by the linker (make build VERSION=v1.2.3). It overrides the
// version known to the Go command.
var release string

// unreleased matches the version of a checkout without a release. Only its
// revision is shown, to save space in tables.
var unreleased = regexp.MustCompile(`^v0\.0\.0-\d{14}-([0-9a-f]{12})`)

// String returns the version of the program: that of the release, or of the
// module that was installed or checked out, "devel" if unknown.
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
