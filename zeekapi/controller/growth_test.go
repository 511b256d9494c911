package controller_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// TestStateDoesNotGrow makes many deployments, with sizes that differ. From the time when
// the history and the events are full, neither they nor the file take more.
func TestStateDoesNotGrow(t *testing.T) {
	b, peers := deployedBench(t, config("c0", "a"))
	file := filepath.Join(t.TempDir(), "controller.db")
	store := openStore(t, file)
	if err := store.Rewrite(b.state); err != nil {
		t.Fatal(err)
	}
	var changes []controller.Change
	var step func(in controller.Input)
	step = func(in controller.Input) {
		t.Helper()
		outputs := b.machine.Step(b.now, in)
		b.take(outputs)
		for _, o := range outputs {
			if c, ok := o.(controller.Change); ok {
				changes = append(changes, c)
			}
		}
		for _, o := range outputs {
			to, ok := o.(controller.ToAgent)
			if !ok {
				continue
			}
			answer := answerTo(to)
			if r, ok := answer.(zeekapi.AgentDeployResponse); ok { // each is a failure with outputs
				r.Results = []zeekapi.Result{{
					ReqID: r.ID, Instance: "a", Node: "wa", Error: strings.Repeat("x", 5000),
					Data: mustMarshal(zeekapi.NodeOutputs{Stderr: strings.Repeat("x", 1<<16)}),
				}}
				answer = r
			}
			if answer != nil {
				step(controller.FromAgent{Peer: peers[to.Instance], Message: answer})
			}
		}
	}
	number := 0
	deployMany := func(times int) (bytes int64) {
		for range times {
			number++
			c := config(fmt.Sprint("c", number), "a")
			c.Nodes[0].Env = map[string]string{"X": strings.Repeat("x", 1000*(1+number%20))}
			step(controller.FromClient{Message: stage(fmt.Sprint("stage", number), c)})
			step(controller.FromClient{Message: deploy(fmt.Sprint("deploy", number))})
			for i := range 10 {
				step(controller.FromAgent{Peer: peers["a"], Message: zeekapi.AgentError{Instance: "a", Text: fmt.Sprint("error ", number, "-", i)}})
			}
			b.now = b.now.Add(controller.DefaultStartLimit)
			if err := store.Save(changes...); err != nil {
				t.Fatal(err)
			}
			changes = nil
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	full := deployMany(200) // more than the history has, with more events than are kept
	// The database doubles its file when free pages are too scattered. The deployments
	// add eight times as much.
	if now := deployMany(200); now > 2*full {
		t.Errorf("%d bytes after %d deployments, %d at first", now, number, full)
	}
	if n, m := len(b.state.History), len(b.state.Events); n != 100 || m != 1000 {
		t.Errorf("%d deployments and %d events, want 100 and 1000", n, m)
	}
	_, requests := b.machine.Held()
	if requests > 1 {
		t.Errorf("%d requests are pending", requests)
	}
}
