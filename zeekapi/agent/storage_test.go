package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

// An agent that cannot store that it stands by stops its nodes, and says that the next
// agent may start them again.
func TestStandbyIsNotSaved(t *testing.T) {
	f := running(t, "w")
	f.saving = errors.New("no space left on device")
	f.ask(zeekapi.AgentStandbyRequest{})
	compare(t, "response", zeekapi.AgentStandbyResponse{Result: failed("", "", "cannot save the configuration: no space left on device")},
		one[zeekapi.AgentStandbyResponse](f))
	compare(t, "stopped", []string{"w"}, stopped(f))
	compare(t, "problem", "cannot save the configuration: no space left on device", f.machine.Storage())
	f.saving = nil
	f.pass(SaveInterval)
	compare(t, "problem", "", f.machine.Storage())
	f.ask(zeekapi.AgentStandbyRequest{})
	compare(t, "response", zeekapi.AgentStandbyResponse{Result: ok("", "")}, one[zeekapi.AgentStandbyResponse](f))
}

// An agent that lost its state directory keeps its nodes, and refuses deployments, even
// of what it runs.
func TestLostStateDirectory(t *testing.T) {
	f := running(t, "w")
	config := configuration("c", "w", "w2")
	f.step(StorageChanged{Why: "the directory was removed"})
	compare(t, "error event", "deployments are refused: the directory was removed", one[zeekapi.AgentError](f).Text)
	f.ask(deploy("r1", config))
	compare(t, "refused", []zeekapi.Result{failed("r1", "", "the directory was removed")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "persisted", 0, len(take[Persist](f)))
	compare(t, "running", 1, len(f.running))
	compare(t, "problem", "the directory was removed", f.machine.Storage())
	f.step(StorageChanged{})
	f.ask(deploy("r2", config))
	f.pass(time.Second)
	compare(t, "accepted", []zeekapi.Result{ok("r2", "w"), ok("r2", "w2")}, one[zeekapi.AgentDeployResponse](f).Results)
	compare(t, "problem", "", f.machine.Storage())
}

// A state directory that another agent could lock is not written. The loss is logged
// once.
func TestPerformWithoutStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	files := newStateFiles(dir, "i")
	lock, err := dirlock.Take(t.Context(), filepath.Dir(files.assignment), "i.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	var log strings.Builder
	p := &performer{Config: Config{Log: zerolog.New(&log)}, files: files, lock: lock}
	perform := func(o Output) []Input {
		t.Helper()
		in, err := p.perform(t.Context(), []Output{o})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	saved := func() error { return perform(Persist{})[0].(Persisted).Err }
	if err := saved(); err != nil {
		t.Fatal(err)
	}
	for _, replace := range []bool{false, true} {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		want := "was removed while the agent was using it"
		if replace {
			want = "was replaced while the agent was using it"
			other, err := dirlock.Take(t.Context(), filepath.Dir(files.assignment), "i.lock")
			if err != nil {
				t.Fatal(err)
			}
			other.Close()
		}
		for range 3 {
			if err := saved(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("saving: %v, want %s", err, want)
			}
		}
		perform(Remember{})
		if _, err := os.Stat(files.assignment); err == nil {
			t.Error("the state was written")
		}
		if in := perform(Verify{}); len(in) != 1 || !strings.Contains(in[0].(StorageChanged).Why, want) {
			t.Errorf("inputs: %v", in)
		}
		if in := perform(Verify{}); len(in) != 0 {
			t.Errorf("inputs without a change: %v", in)
		}
		if n := strings.Count(log.String(), "cannot save the configuration"); n != 1 {
			t.Errorf("%d lines about one failure:\n%s", n, log.String())
		}
		log.Reset()
		if err := errors.Join(os.RemoveAll(dir), os.Rename(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
		if in := perform(Verify{}); len(in) != 1 || in[0] != (StorageChanged{}) {
			t.Errorf("inputs: %v", in)
		}
		if err := saved(); err != nil {
			t.Error(err)
		}
	}
}
