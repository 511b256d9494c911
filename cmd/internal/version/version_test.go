package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	build := func(version string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	const revision = "761a7c9e3f45139d7c1e29131b36db88aa6f7132"
	for _, tt := range []struct {
		name    string
		release string
		info    *debug.BuildInfo
		want    string
	}{
		{"release", "v1.2.3", build("v0.0.0-20261122165026-761a7c9e3f45"), "v1.2.3"},
		{"installed", "", build("v1.2.3"), "v1.2.3"},
		{"checked out", "", build("v0.0.0-20261122165026-761a7c9e3f45+dirty"), "devel-761a7c9e3f45+dirty"},
		{"after a release", "", build("v1.2.4-0.20261122165026-761a7c9e3f45"), "v1.2.4-0.20261122165026-761a7c9e3f45"},
		{"revision only", "", build("(devel)", "vcs.revision", revision, "vcs.modified", "true"), "devel-761a7c9e3f45+dirty"},
		{"no version control", "", build("(devel)"), "devel"},
		{"no module", "", nil, "devel"},
	} {
		if got := of(tt.release, tt.info); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestDetails(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "761a7c9e"}, {Key: "vcs.modified", Value: "true"}}}
	want := Build{Version: "v1.2.3", Revision: "761a7c9e", Modified: true, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if got := detailsOf("v1.2.3", info); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := detailsOf("", nil); got.Version != "devel" || got.Revision != "" {
		t.Errorf("without information: %+v", got)
	}
}
