package archive

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// The disk is full during the first run, but not during the second.
func TestFullDisk(t *testing.T) {
	p := newPlace(t)
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", p.Dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(p.Dir, 0); err != nil {
			t.Error(err)
		}
	})
	content := random(200 << 10)
	p.put(connName, content)
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "small")
	p.once(t.Context())
	p.expect("full", map[string]string{"2026-11-22/dns.09:00:00-10:00:00.log.gz": "small"}, connName)
	if !strings.Contains(p.log.String(), "no space left on device") {
		t.Errorf("log is %s", p.log.String())
	}
	if err := syscall.Mount("tmpfs", p.Dir, "tmpfs", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	p.once(t.Context())
	p.expect("not full", map[string]string{"2026-11-22/dns.09:00:00-10:00:00.log.gz": "small", connGoal: content})
}
