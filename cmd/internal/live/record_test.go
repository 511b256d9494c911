package live

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/recdiff"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// envRecord is the environment variable with the folder of recordings to
// refresh; see "make record".
const envRecord = "RECORD"

// TestRecord records sessions of each Zeek in the subfolder zeek-VERSION, and
// logs the differences from the previous version.
func TestRecord(t *testing.T) {
	folder := os.Getenv(envRecord)
	if folder == "" {
		t.Skip(envRecord + " does not name a folder for recordings")
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		out := t.TempDir()
		z.recordZoo(t, out)
		if _, err := os.Stat(filepath.Join(z.scripts, "policy/frameworks/management")); err == nil && z.atLeast(5, 2) {
			z.recordCluster(t, out)
		}
		hidePaths(t, out)
		summarize(t, folder, "zeek-"+z.version, out)
		target := filepath.Join(folder, "zeek-"+z.version)
		if err := os.RemoveAll(target); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(target, os.DirFS(out)); err != nil {
			t.Fatal(err)
		}
	})
}

// route is a pair of peers to record.
type route struct {
	name     string
	from, to int
}

// recorder starts a recorder between pairs of peers. The caller must stop it,
// to complete the recordings.
func recorder(t *testing.T, out string, routes ...route) *process {
	args := []string{zeekwire(t), "record", "--output", out}
	for _, r := range routes {
		args = append(args, "--name", r.name, "--listen", at(r.from), "--connect", at(r.to))
	}
	return start(t, "recorder", nil, args...)
}

// recordZoo records every type of value, over every transport.
func (z *installation) recordZoo(t *testing.T, out string) {
	tls := plain(t)
	animals := startZoo(t, z, nil, tls)
	seen := &zoo{
		installation: z, process: animals.process,
		native: freePort(t), brokerWebSocket: freePort(t), zeekWebSocket: freePort(t),
	}
	r := recorder(t, out,
		route{"zoo-native", seen.native, animals.native},
		route{"zoo-broker-websocket", seen.brokerWebSocket, animals.brokerWebSocket},
		route{"zoo-zeek-websocket", seen.zeekWebSocket, animals.zeekWebSocket})
	for _, f := range flavours {
		if f.needs != "" && !z.has[f.needs] {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		v := &visitor{t, ctx, f.dial(ctx, t, seen, tls.layer)}
		v.awaitPeer()
		v.ping(1)
		if events := v.all(); len(events) == 0 {
			t.Errorf("%s: received no events", f.name)
		}
		v.Close()
		cancel()
	}
	r.stop()
}

// calls lists calls of zeek-client that use every request and response of the
// API. Configurations are in testdata/clusters.
var calls = []string{
	"get-instances",
	"get-nodes",
	"get-config",
	"deploy",
	"restart",
	"stage-config bad.cfg",
	"stage-config ports.cfg",
	"deploy-config four.cfg",
	"get-config",
	"get-config --deployed --as-json",
	"get-nodes",
	"get-id-value Cluster::node",
	"get-id-value no_such_thing",
	"get-id-value Cluster::node manager nobody",
	"restart worker-01", // no get-nodes after it, whose output would depend on timing
	"test-timeout --with-state",
	"deploy-config empty.cfg",
	"get-instances",
}

// recordCluster records a controller, an agent with its nodes, and clients.
func (z *installation) recordCluster(t *testing.T, out string) {
	const plain = "Broker::disable_ssl=T"
	native, websocket := z.controller(t, plain)
	agent, toAgent := freePort(t), freePort(t)
	toNative, toWebSocket := freePort(t), freePort(t)
	r := recorder(t, out,
		route{"agent-controller", toNative, native},
		route{"client-controller", toWebSocket, websocket},
		route{"node-agent", toAgent, agent})
	// Only the nodes use the port of the recorder instead of the agent's port.
	script := filepath.Join(t.TempDir(), "nodes.zeek")
	text := fmt.Sprintf("@if ( getenv(\"ZEEK_MANAGEMENT_NODE\") != \"AGENT\" )\nredef Management::Agent::listen_port = \"%d/tcp\";\n@endif\n", toAgent)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	z.startAgent(t, "agent-one", agent, toNative, plain, script)
	// Connect to the controller directly, not through the recorder.
	ours(t, websocket).instances(t, "agent-one")

	c := z.stock(t, toWebSocket)
	t.Chdir(clusters(t))
	var transcript strings.Builder
	for _, call := range calls {
		stdout, stderr, code := run(t, nil, append(c.argv, strings.Fields(call)...)...)
		if code != 0 && strings.HasPrefix(call, "deploy-config") {
			t.Fatalf("%s failed, and the recording is incomplete; is the machine busy?\n%s%s", call, stdout, stderr)
		}
		fmt.Fprintf(&transcript, "$ zeek-client %s\n%s%sexit %d\n\n", call, stdout, stderr, code)
	}
	r.stop()
	if err := os.WriteFile(filepath.Join(out, "client.txt"), []byte(transcript.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hidePaths replaces the path of the temporary folder in recordings with
// another path of the same length.
func hidePaths(t *testing.T, out string) {
	files, err := filepath.Glob(filepath.Join(out, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	neutral := "/srv/zeek" + strings.Repeat("-", max(0, len(root)-len("/srv/zeek")))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, hex.AppendEncode(nil, []byte(root)), hex.AppendEncode(nil, []byte(neutral[:len(root)])))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// recordedVersion matches the name of a folder that TestRecord has created.
var recordedVersion = regexp.MustCompile(`^zeek-(\d+)\.(\d+)\.(\d+)`)

// summarize logs the differences between a new recording and the previous one:
// that with the same name, or that of the preceding version.
func summarize(t *testing.T, folder, name, out string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var before string
	for _, e := range entries {
		if recordedVersion.FindString(e.Name()) != e.Name() {
			continue
		}
		if compareVersions(e.Name(), name) <= 0 && (before == "" || compareVersions(before, e.Name()) < 0) {
			before = e.Name()
		}
	}
	if before == "" {
		t.Logf("%s is the first recording", name)
		return
	}
	dialects := []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)}
	old, err := recdiff.Read(filepath.Join(folder, before), dialects, "Zoo::")
	if err != nil {
		t.Fatal(err)
	}
	facts, err := recdiff.Read(out, dialects, "Zoo::")
	if err != nil {
		t.Fatal(err)
	}
	lines := recdiff.Diff(old, facts)
	if len(lines) == 0 {
		lines = []string{"no differences"}
	}
	t.Logf("%s compared with %s:\n%s", name, before, strings.Join(lines, "\n"))
}

func compareVersions(a, b string) int {
	return slices.Compare(versionNumbers(a), versionNumbers(b))
}

func versionNumbers(name string) (numbers []int) {
	for _, s := range recordedVersion.FindStringSubmatch(name)[1:] {
		n, _ := strconv.Atoi(s) // the expression matches only digits
		numbers = append(numbers, n)
	}
	return numbers
}
