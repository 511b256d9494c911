package live

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRotatedLogsAreArchived checks that the archive contains all rotated logs
// of loggers, completely.
func TestRotatedLogsAreArchived(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		native, websocket := ourController(t, "off")
		state := t.TempDir()
		start(t, "our agent", nil, zeekwire(t), "agent", "--name", "agent-one",
			"--controller", at(native), "--listen", at(freePort(t)), "--state-dir", state,
			"--zeek", z.zeek, "--tls", "off", "--archive-interval", "1s")
		script := filepath.Join(t.TempDir(), "rotate.zeek")
		if err := os.WriteFile(script, []byte(`
redef Log::default_rotation_interval = 3 secs;

module Live;
export {
	redef enum Log::ID += { LOG };
	type Info: record { n: count &log; };
}
global n = 0;
event write() { Log::write(Live::LOG, [$n=n]); ++n; schedule 10 msec { write() }; }
event zeek_init()
	{
	Log::create_stream(Live::LOG, [$columns=Info, $path="live"]);
	if ( Cluster::node == "worker" )
		schedule 1 sec { write() };
	}
`), 0o644); err != nil {
			t.Fatal(err)
		}
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		config := strings.ReplaceAll(cluster, "\nrole", fmt.Sprintf("\nscripts = %s\nrole", script))
		c.deploy(t, config)
		c.running(t, "agent-one", nodes...)

		eventually(t, "three archived logs", func() error {
			logs, err := filepath.Glob(filepath.Join(state, "logs", "*", "live.*.log.gz"))
			if err != nil || len(logs) < 3 {
				return fmt.Errorf("%q, %w", logs, err)
			}
			return nil
		})

		// Zeek writes #close as the last line of a log.
		logs, _ := filepath.Glob(filepath.Join(state, "logs", "*", "*.log.gz"))
		next := 0
		for _, log := range logs {
			text := unzip(t, log)
			if !strings.HasPrefix(text, "#separator") || !strings.Contains(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:], "#close") {
				t.Errorf("%s is not complete:\n%.200s", log, text)
			}
			if !strings.HasPrefix(filepath.Base(log), "live.") {
				continue
			}
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "#") {
					continue
				}
				if got := strings.TrimSpace(line); got != fmt.Sprint(next) {
					t.Fatalf("%s has line %s, want %d", log, got, next)
				}
				next++
			}
		}
		t.Logf("%d logs, %d lines", len(logs), next)
	})
}

func unzip(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(b)
}
