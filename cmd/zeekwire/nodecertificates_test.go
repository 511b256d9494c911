package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The status and alerts warn of nodes that still have a certificate which their agent has
// replaced.
func TestNodesWithEarlierCertificates(t *testing.T) {
	began := time.Now().Add(-95 * day)
	a, err := authority.Create(filepath.Join(t.TempDir(), "authority"), "host", 100*day, ownedfile.Own(), began)
	if err != nil {
		t.Fatal(err)
	}
	for name, times := range map[string][]time.Duration{"sensor-1": {0, 67 * day}, "sensor-2": {10 * day, 77 * day}, "sensor-3": {0}} {
		for _, at := range times {
			if _, err := enrol.Issue(a, began.Add(at), authority.Subject{Kind: authority.Agent, Name: name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	started := func(days time.Duration) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{Status: zeekapi.NodeStatus{State: zeekapi.StateRunning}, Started: began.Add(days*day + time.Minute)}
	}
	now := began.Add(95 * day)
	var starts nodeStarts
	look := func() (warning string, names []string) {
		t.Helper()
		all, err := starts.certificates(now, a)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			names = append(names, c.Name)
		}
		return starts.expiring(now, a), names
	}
	stopped := started(1)
	stopped.Status.State = zeekapi.StateStopped
	starts.take(now, "sensor-1", []zeekapi.NodeDetail{started(80), started(5), stopped, started(20)})
	starts.take(now, "sensor-2", []zeekapi.NodeDetail{started(11)})
	starts.take(now, "sensor-3", []zeekapi.NodeDetail{started(1)}) // its agent has no later one
	starts.take(now, "unknown", []zeekapi.NodeDetail{started(1)})

	// That of sensor-1 expires in 5 days, and that of sensor-2 in 15.
	warning, names := look()
	end := began.Add(100 * day).UTC().Format(time.RFC3339)
	if !strings.Contains(warning, "1 instances, such as sensor-1,") || !strings.Contains(warning, end) {
		t.Errorf("warning %q", warning)
	}
	if got := strings.Join(names, ", "); got != "of nodes of sensor-1, of nodes of sensor-2" {
		t.Errorf("alerts %q", got)
	}

	starts.take(now, "sensor-1", []zeekapi.NodeDetail{started(80), stopped}) // the others have been restarted
	if warning, names := look(); warning != "" || len(names) != 1 {
		t.Errorf("after a restart: %q, %q", warning, names)
	}
	now = now.Add(startsForgotten + time.Second)
	if _, names := look(); len(names) != 0 {
		t.Errorf("agents that are gone: %q", names)
	}
}
