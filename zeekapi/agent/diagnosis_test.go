package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// No text of a diagnosis has a secret of an environment variable, of the node or the agent.
func TestDiagnosisIsMasked(t *testing.T) {
	const secret = "hunter2-hunter2"
	said := "using " + secret + " and api_key=abcdef"
	d := masked(zeekapi.Diagnosis{
		Node: &zeekapi.Node{
			Name: "w", Role: zeekapi.RoleWorker, Scripts: []string{"local.zeek", "X::password=" + secret}, Env: map[string]string{"DB_PASSWORD": secret, "HOME": "/h"},
			Options: []zeekapi.Option{{Name: "token", Value: secret}},
		},
		Detail:  &zeekapi.NodeDetail{LastError: said, Status: zeekapi.NodeStatus{State: zeekapi.StateFailed, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}},
		Crashes: []zeekapi.CrashReport{{Reason: said, Stderr: said, Backtrace: said}},
		Outputs: zeekapi.NodeOutputs{Stdout: said, Stderr: said},
		Facts:   []zeekapi.Fact{{Name: "arguments", Value: said}},
		Files:   []zeekapi.NodeFile{{Name: "reporter.log", Data: said + " agents-own-token"}},
	}, map[string]string{"ZEEKWIRE_TOKEN": "agents-own-token"})
	text := fmt.Sprint(mustMarshal(d))
	for _, secret := range []string{secret, "abcdef", "agents-own-token", "YWdlbnRz"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in %s", secret, text)
		}
	}
	if !strings.Contains(text, "/h") || !strings.Contains(text, "local.zeek") {
		t.Errorf("too much is masked: %s", text)
	}
	var again zeekapi.Diagnosis
	if err := record.Unmarshal(mustMarshal(d), &again); err != nil || again.Files[0].Data == "" {
		t.Errorf("decoded %+v: %v", again, err)
	}
}

// Incomplete files of the agent are leftovers when they are old.
func TestIncompleteFilesAreLeftovers(t *testing.T) {
	f := newStateFiles(t.TempDir(), "i")
	if err := f.save(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(f.assignment), ".i.json.123"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := f.leftovers(time.Now().Add(time.Hour)); len(found) != 1 || found[0].Kind != zeekapi.LeftoverTemp || found[0].Bytes != 1 {
		t.Errorf("leftovers %+v", found)
	}
	if found := f.leftovers(time.Now().Add(-time.Hour)); len(found) != 0 {
		t.Errorf("leftovers that have changed recently: %+v", found)
	}
}

// Requests that read or remove files do not pile up, and a diagnosis has what the machine
// knows.
func TestSlowRequests(t *testing.T) {
	f := running(t, "w")
	ask := func(reqID, node string) { f.ask(zeekapi.AgentDiagnoseRequest{ReqID: id(reqID), Node: node}) }
	ask("bad", "../etc")
	compare(t, "result", `no node "../etc" on instance i`, one[zeekapi.AgentDiagnoseResponse](f).Result.Error)
	f.out = nil
	ask("r1", "w")
	f.ask(zeekapi.AgentCleanupRequest{ReqID: id("r2"), Keep: []string{"a"}})
	diagnose, cleanup := f.out[0].(Diagnose), f.out[1].(Cleanup)
	if d := diagnose.Diagnosis; d.Node == nil || d.Detail == nil || d.Remark != "" || diagnose.Bytes != LogBytes {
		t.Errorf("%+v", diagnose)
	}
	compare(t, "needed", []string{"a", "w"}, cleanup.Nodes)
	f.out = nil
	ask("r3", "w")
	compare(t, "result over the limit", errorBusy, one[zeekapi.AgentDiagnoseResponse](f).Result.Error)
	f.out = nil
	f.step(Finished{nil, zeekapi.AgentDiagnoseCall.Respond("r1", zeekapi.Result{Success: true})})
	compare(t, "response", true, one[zeekapi.AgentDiagnoseResponse](f).Result.Success)
	f.out = nil
	ask("r4", "gone")
	if d := f.out[0].(Diagnose).Diagnosis; d.Node != nil || d.Remark == "" {
		t.Errorf("of a node that is not assigned: %+v", d)
	}
}
