// Package version knows what program this is.
package version

import "runtime/debug"

// release is set by the linker (make build VERSION=v1.2.3), which counts for
// more than what the Go command knows.
var release string

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
		return v // with the revision, if it is no release
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
