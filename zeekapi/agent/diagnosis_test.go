package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
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
		Deaths:  []zeekapi.NodeDeath{{Reason: said, Stderr: said, Backtrace: said}},
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

// The last deaths of a node are on disk, also those of a node that is no longer assigned.
func TestDeathsAreKept(t *testing.T) {
	f := newStateFiles(t.TempDir(), "i")
	for i := range zeekapi.MaxNodeDeaths + 3 {
		if err := f.recordDeath("w", zeekapi.NodeDeath{Time: time.Unix(int64(i), 0), Reason: fmt.Sprint(i), Ran: time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	deaths, err := f.deathsOf("w")
	if err != nil || len(deaths) != zeekapi.MaxNodeDeaths || deaths[0].Reason != "12" || deaths[9].Reason != "3" || deaths[0].Ran != time.Second {
		t.Errorf("deaths %+v, error %v", deaths, err)
	}
	if err := os.WriteFile(f.deathsFile("w"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.recordDeath("w", zeekapi.NodeDeath{Reason: "after damage"}); err != nil {
		t.Fatal(err)
	}
	if deaths, err = f.deathsOf("w"); err != nil || len(deaths) != 1 {
		t.Errorf("after damage: %+v, error %v", deaths, err)
	}

	needed := func(string) bool { return false }
	if found := f.leftovers(needed, time.Now().Add(time.Hour)); len(found) != 1 || found[0].Kind != zeekapi.LeftoverDeaths {
		t.Errorf("leftovers %+v", found)
	}
	if found := f.leftovers(needed, time.Now().Add(-time.Hour)); len(found) != 0 {
		t.Errorf("leftovers that have changed recently: %+v", found)
	}
	if err := os.WriteFile(filepath.Join(f.deaths, ".w.json.123"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := f.leftovers(func(string) bool { return true }, time.Now().Add(time.Hour)); len(found) != 1 || found[0].Kind != zeekapi.LeftoverTemp {
		t.Errorf("leftovers with a needed node: %+v", found)
	}
}

func TestSignalOf(t *testing.T) {
	err := exec.Command("sh", "-c", "kill -SEGV $$").Run()
	if got := signalOf(fmt.Errorf("wrapped: %w", err)); got != "SIGSEGV" {
		t.Errorf("signal %q of %v", got, err)
	}
	if got := signalOf(exec.Command("sh", "-c", "exit 3").Run()) + signalOf(errors.New("x")); got != "" {
		t.Errorf("signal %q without one", got)
	}
}

// A death is recorded with the time that the node ran, a stop is not.
func TestDeathIsRecorded(t *testing.T) {
	f := running(t, "w")
	f.after(time.Minute, launch.Exited{Node: "w", Err: errors.New("exit status 1"), Outputs: zeekapi.NodeOutputs{Stderr: "fatal"}})
	f.pass(time.Minute)
	var got []Record
	for _, o := range f.out {
		if r, ok := o.(Record); ok {
			got = append(got, r)
		}
	}
	if len(got) != 1 || got[0].Node != "w" || got[0].Death.Reason != "exit status 1" || got[0].Death.Stderr != "fatal" || got[0].Death.Ran < time.Minute {
		t.Errorf("recorded %+v", got)
	}
	f.pass(time.Minute)
	f.out = nil
	f.ask(deploy("none", configuration("c2")))
	f.pass(time.Minute)
	for _, o := range f.out {
		if r, ok := o.(Record); ok {
			t.Errorf("the end of a stopped node is recorded: %+v", r)
		}
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
