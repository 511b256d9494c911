package live

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestLogsCannotBeArchived checks that rotated logs which cannot be archived, and a command
// for archived logs that fails, are problems in status, events, alerts and notifications, and
// that these end when the logs can be archived.
func TestLogsCannotBeArchived(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		var mu sync.Mutex
		var received strings.Builder
		hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = io.Copy(&received, r.Body)
		}))
		t.Cleanup(hook.Close)
		dir := t.TempDir()
		notes, ok, archive := filepath.Join(dir, "notes"), filepath.Join(dir, "ok"), filepath.Join(dir, "archive")
		native, websocket := freePort(t), freePort(t)
		start(t, "our controller", nil, zeekwire(t), "controller", "--name", "controller-one", "--listen", at(native),
			"--websocket-listen", at(websocket), "--state-dir", t.TempDir(), "--tls", "off",
			"--alert-command", "cat >>'"+notes+"'", "--alert-webhook", hook.URL, "--alert-wait", "0s", "--alert-interval", "1s")
		z.ourKind().start(t, t.TempDir(), "agent-one", freePort(t), native, "--archive-dir", archive,
			"--archive-interval", "1s", "--archive-failing-after", "5s", "--archive-command", "echo no server; test -e '"+ok+"' #")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		// An agent refuses to start with such an archive: root can write to all directories.
		if err := errors.Join(os.RemoveAll(archive), os.WriteFile(archive, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		script := scriptFile(t, "rotate.zeek", "redef Log::default_rotation_interval = 3 secs;\n")
		c.deploy(t, "[cluster]\nscripts = "+script+"\n\n[instances]\nagent-one\n\n[manager]\ninstance = agent-one\nrole = manager\n")
		c.running(t, "agent-one", "manager")

		// sees waits until alerts has the present alert with a subject, or none if it is "",
		// and both channels have had a notification with the status and the text.
		sees := func(subject, status, text string) {
			t.Helper()
			eventually(t, "alerts", func() error {
				var got struct {
					Alerts []struct{ Rule, Instance, Subject, Text string }
				}
				if err := c.call(t, &got, "alerts"); err != nil {
					return err
				}
				present := ""
				for _, a := range got.Alerts {
					if a.Rule == "archive" && a.Instance == "agent-one" {
						present = a.Subject
					}
				}
				if present != subject {
					return fmt.Errorf("the alert is about %q, want %q: %+v", present, subject, got)
				}
				return nil
			})
			eventually(t, "notifications", func() error {
				command, err := os.ReadFile(notes)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				for channel, all := range map[string]string{"command": string(command), "webhook": received.String()} {
					if !strings.Contains(all, `"status":"`+status+`"`) || !strings.Contains(all, text) {
						return fmt.Errorf("the %s has received %s", channel, all)
					}
				}
				return nil
			})
		}
		sees("archive", "firing", "finished logs cannot be archived since ")
		table, _, _ := run(t, nil, append(c.argv, "status", "--json=false")...)
		if !strings.Contains(strings.Join(strings.Fields(table), " "), "finished logs cannot be archived") {
			t.Errorf("status:\n%s", table)
		}
		if err := os.Remove(archive); err != nil {
			t.Fatal(err)
		}
		sees("command", "resolved", "archive-command does not succeed for finished logs since ")
		mu.Lock()
		output := strings.Contains(received.String(), "exit status 1: no server")
		mu.Unlock()
		if !output {
			t.Error("the notification does not have the output of the command")
		}
		if err := os.WriteFile(ok, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		sees("", "resolved", "archive-command does not succeed")
		events, _, _ := run(t, nil, append(c.argv, "events", "--json=false")...)
		for _, want := range []string{"finished logs cannot be archived", "archive-command does not succeed"} {
			if strings.Count(events, want) < 2 {
				t.Errorf("events have not the beginning and the end of %q:\n%s", want, events)
			}
		}
	})
}
