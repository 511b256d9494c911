package archive

import (
	"os"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// The disk is full during the first run, but not during the second.
func TestFullDisk(t *testing.T) {
	if !disktest.Isolated(t) {
		return
	}
	p := newPlace(t)
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	disk := disktest.At(t, p.Dir, 64, 0)
	content := random(200 << 10)
	p.put(connName, content)
	p.put("dns"+strings.TrimPrefix(connName, "conn"), "small")
	p.once(t.Context())
	p.expect("full", map[string]string{"2026-11-22/dns.09:00:00-10:00:00.log.gz": "small"}, connName)
	if !strings.Contains(p.log.String(), "no space left on device") {
		t.Errorf("log is %s", p.log.String())
	}
	disk.Resize(1 << 10)
	p.once(t.Context())
	p.expect("not full", map[string]string{"2026-11-22/dns.09:00:00-10:00:00.log.gz": "small", connGoal: content})
}
