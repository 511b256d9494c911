package nodescript

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	f, err := Write(filepath.Join(t.TempDir(), "new", "scripts"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{f.Defaults: defaults, f.Node: node} {
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The scripts of two versions are in different directories.
func TestWriteVersions(t *testing.T) {
	dir := t.TempDir()
	one, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	before, content := node, string(defaults)
	defer func() { node = before }()
	node = []byte("# of another version\n")
	other, err := Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{one.Defaults: content, one.Node: string(before), other.Defaults: content, other.Node: string(node)} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again, err := Write(dir); err != nil || again != other {
		t.Errorf("written again: %+v, %v, want %+v", again, err, other)
	}
	if !one.Has(other.Node) || !one.Has(other.Defaults) || one.Has(filepath.Join(dir, "local.zeek")) {
		t.Error("the scripts of another version are not recognized")
	}
}

func TestEnvironment(t *testing.T) {
	for listen, want := range map[string]string{
		"10.0.0.1:2151": "10.0.0.1 2151/tcp",
		"0.0.0.0:1":     "127.0.0.1 1/tcp",
		"[::]:2":        "::1 2/tcp",
	} {
		env := Agent{Listen: netip.MustParseAddrPort(listen)}.Environment()
		if got := env["ZEEK_AGENT_ADDR"] + " " + env["ZEEK_AGENT_PORT"]; got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
	if a, err := (Agent{}).In("state"); err != nil || !filepath.IsAbs(a.SpoolDir) || filepath.Base(a.SpoolDir) != "state" {
		t.Errorf("without a spool directory: %q, %v", a.SpoolDir, err)
	}
	got := Agent{SpoolDir: "/spool", Topic: "t", ConnectRetry: 1500 * time.Millisecond}.Environment()
	want := map[string]string{
		"ZEEK_AGENT_ADDR": "127.0.0.1", "ZEEK_AGENT_PORT": "0/tcp", "ZEEK_MANAGEMENT_SPOOL_DIR": "/spool",
		"ZEEKWIRE_LOADED_SCRIPTS": LoadedList,
		"ZEEKWIRE_NODE_TOPIC":     "t", "ZEEKWIRE_CONNECT_RETRY": "1.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
