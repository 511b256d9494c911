package zeek

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// A full disk is reported. Running nodes keep running, also under the next agent, and the
// deployment succeeds once there is free space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if !disktest.Isolated(t) {
		return
	}
	disk := disktest.New(t, 512, 0)
	place := newPlace(t)
	place.dir = disk.Dir
	t.Cleanup(func() { // before the unmount
		for _, m := range place.marks(t) {
			m.signal(syscall.SIGKILL)
		}
	})
	version := func(changed string) func(int) string {
		return func(i int) string {
			if i == 1 {
				return changed
			}
			return ""
		}
	}
	a := place.start(t)
	hear[zeekapi.AgentHello](a)
	a.send(zeekapi.AgentDeployRequest{ReqID: a.id(), Config: fleetOf("c1", 2, version(""))})
	hear[zeekapi.AgentDeployResponse](a)
	before := a.pids(zeekapi.StateRunning)

	free := disk.Fill()
	second := zeekapi.AgentDeployRequest{ReqID: a.id(), Config: fleetOf("c2", 2, version("changed"))}
	a.send(second)
	results := hear[zeekapi.AgentDeployResponse](a).Results
	if len(results) != 3 || !strings.Contains(results[0].Error, "cannot save the configuration: ") ||
		!strings.Contains(results[0].Error, "no space left on device") {
		t.Errorf("results: %+v", results)
	} else if r := results[2]; r.Success || r.Node != "node-1" || !strings.Contains(r.Error, "no space left on device") {
		t.Errorf("node-1: %+v", r)
	} else if !results[1].Success {
		t.Errorf("node-0: %+v", results[1])
	}
	a.kill()

	a = place.start(t)
	hear[zeekapi.AgentHello](a)
	for {
		a.send(zeekapi.AgentGetNodesRequest{ReqID: a.id()})
		var list []zeekapi.NodeStatus
		if err := record.Unmarshal(hear[zeekapi.AgentGetNodesResponse](a).Result.Data, &list); err != nil {
			t.Fatal(err)
		}
		if s := list[1]; s.Node != "node-0" || s.PID != before["node-0"] {
			t.Fatalf("nodes of the next agent: %+v", list)
		} else if s.State == zeekapi.StateRunning {
			break
		}
		hear[zeekapi.AgentChange](a)
	}
	free()
	a.send(second)
	for _, r := range hear[zeekapi.AgentDeployResponse](a).Results {
		if !r.Success {
			t.Errorf("with free space: %+v", r)
		}
	}
	a.stop()
	if text, err := os.ReadFile(filepath.Join(place.dir, "agents", "i.json")); err != nil || !strings.Contains(string(text), `"c2"`) {
		t.Errorf("saved: %s, %v", text, err)
	}
}

// Cutting an output that filled the disk frees space, and keeps the end of the output.
func TestCutOutputOnFullDisk(t *testing.T) {
	t.Parallel()
	if !disktest.Isolated(t) {
		return
	}
	disk := disktest.New(t, 512, 0)
	dir := disk.Dir
	l := start(t, Config{StateDir: dir, MaxOutput: 64 << 10})
	t.Cleanup(func() { l.Close(t.Context()) }) // before the unmount
	if err := os.MkdirAll(l.nodeDir("w"), 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(l.nodeDir("w"), "stdout")
	if err := os.WriteFile(name, []byte(strings.Repeat("much text\n", 30_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	disk.Fill()
	if err := l.cut(name); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Outputs("w", 1<<20); err != nil || len(got.Stdout) != 8<<10 {
		t.Errorf("kept %d bytes, %v", len(got.Stdout), err)
	}
}
