package importer

import (
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
)

// version is the version of an installed Zeek, the zero value if it is not known.
type version struct{ major, minor int }

// versionLine matches the line of zeek-config with the version.
var versionLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^version="?([0-9]{1,4})\.([0-9]{1,4})`) })

// installedVersion returns the version of the Zeek in a directory.
func installedVersion(base string) version {
	if base == "" {
		return version{}
	}
	text, err := readFile(filepath.Join(base, "bin", "zeek-config"))
	match := versionLine().FindSubmatch(text)
	if err != nil || match == nil {
		return version{}
	}
	major, _ := strconv.Atoi(string(match[1])) // a few digits
	minor, _ := strconv.Atoi(string(match[2]))
	return version{major, minor}
}

// before reports whether the version is known and older than another one.
func (v version) before(major, minor int) bool {
	return v != version{} && (v.major < major || v.major == major && v.minor < minor)
}

// backend returns the default of ZeekControl's option ClusterBackend.
func (v version) backend() string {
	if v.before(8, 1) {
		return "broker"
	}
	return "zeromq"
}

// port returns the default of ZeekControl's option ZeekPort.
func (v version) port() int {
	if v.before(5, 2) {
		return 47760
	}
	return 27760
}
