package zeek

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCapturePrivileges checks for which privileges an agent says that nodes may not
// capture packets, and how it says to proceed.
func TestCapturePrivileges(t *testing.T) {
	dir := t.TempDir()
	program := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain, script := program("plain", "\x7fELF", 0o755), program("script", "#!/bin/sh\n", 0o755)
	setuid := program("setuid", "\x7fELF", 0o755|os.ModeSetuid)
	// As "setcap cap_net_raw,cap_net_admin=eip" writes it.
	granted := func(string) ([]byte, error) {
		return []byte("\x01\x00\x00\x02\x00\x30\x00\x00\x00\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), nil
	}
	other := func(string) ([]byte, error) {
		return []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), nil // cap_net_bind_service
	}
	none := func(string) ([]byte, error) { return nil, errors.New("no data available") }
	for _, tt := range []struct {
		name    string
		p       privileges
		program string
		want    string // part of the error; "" for none
	}{
		{"root", privileges{root: true, fileCaps: none}, plain, ""},
		{"ambient capability", privileges{ambient: true, fileCaps: none}, plain, ""},
		{"ambient capability and no new ones", privileges{ambient: true, noneNew: true, bounded: true, fileCaps: none}, plain, ""},
		{"capability of the file", privileges{fileCaps: granted}, plain, ""},
		{"setuid", privileges{fileCaps: none}, setuid, ""},
		{"script", privileges{fileCaps: none}, script, ""},
		{"missing program", privileges{fileCaps: none}, filepath.Join(dir, "missing"), ""},
		{"user", privileges{fileCaps: none}, plain, `run "setcap cap_net_raw,cap_net_admin=eip ` + plain + `" as root`},
		{"other capability", privileges{fileCaps: other}, plain, "setcap"},
		{"no new privileges", privileges{noneNew: true, fileCaps: granted}, plain, "ambient capabilities"},
		{"no new privileges, setuid", privileges{noneNew: true, fileCaps: none}, setuid, "NoNewPrivileges"},
		{"root in a container", privileges{root: true, bounded: true, fileCaps: none}, plain, "not available in this container"},
	} {
		err := tt.p.forbid(tt.program)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestCheckCapture checks that only nodes that read from a network interface need the
// capability.
func TestCheckCapture(t *testing.T) {
	l := start(t, Config{})
	defer func(usual func() privileges) { currentPrivileges = usual }(currentPrivileges)
	currentPrivileges = func() privileges { return privileges{bounded: true} }
	for source, allowed := range map[string]bool{"": true, "any": true, "napatech::1": true, "af_packet::": true, "lo": false, "af_packet::lo": false} {
		n := node("worker", "")
		n.Interface = source
		if err := l.checkCapture(n); (err == nil) != allowed {
			t.Errorf("%q: %v", source, err)
		}
	}
}
