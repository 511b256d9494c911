package controller_test

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// TestControllerKilledAtEachStep deploys one configuration and then another to
// two agents, and kills the controller once: before it stores what a step
// changed, or before any of the outputs of a step, each in turn. The client
// repeats what it got no answer to.
func TestControllerKilledAtEachStep(t *testing.T) {
	kills := 0
	for ; ; kills++ {
		w := &mortal{t: t, left: kills, runs: make(map[string]string), answers: make(map[string]bool), state: controller.State{}.Clone()}
		w.boot()
		for i := range 2 {
			c := config(fmt.Sprint("c", i+1), "a", "b")
			w.insist(func(id string) zeekapi.Message { return stage(id, c) })
			w.promise(controller.Staged, c.ID)
			w.insist(deploy)
			w.promise(controller.Deployed, c.ID)
		}
		for _, name := range []string{"a", "b"} {
			if w.runs[name] != "c2" {
				t.Errorf("killed at %d: %s runs %q in the end", kills, name, w.runs[name])
			}
		}
		if err := w.machine.Check(); err != nil {
			t.Errorf("killed at %d: %v", kills, err)
		}
		if w.left >= 0 {
			break // it ended before it was to be killed
		}
	}
	if t.Logf("killed %d times", kills); kills < 30 {
		t.Error("there should be more steps")
	}
}

// mortal is a controller that is killed once, with two agents that live on.
type mortal struct {
	t       *testing.T
	machine *controller.Machine
	state   controller.State // as stored
	left    int              // what it does before it is killed; negative when that is over
	inputs  []controller.Input
	runs    map[string]string // IDs of configurations, by agent
	answers map[string]bool   // whether requests were successful, by ID
	ids     int
}

func (w *mortal) newID() string {
	w.ids++
	return fmt.Sprint("#", w.ids)
}

// boot begins a life of the controller. Nothing that was on its way arrives.
func (w *mortal) boot() {
	w.machine = newMachine(controller.DefaultSettings(), w.state.Clone(), w.newID, zerolog.Nop())
	w.inputs = nil
	for i, name := range []string{"a", "b"} {
		w.inputs = append(w.inputs, controller.FromAgent{Peer: peer(i + 1), Message: hello(name)})
	}
	w.do(w.machine.Start(testStart))
}

// insist sends a request, under another ID each time, until it is answered.
func (w *mortal) insist(request func(id string) zeekapi.Message) {
	for range 3 {
		id := w.newID()
		w.inputs = append(w.inputs, controller.FromClient{Message: request(id)})
		for len(w.inputs) > 0 {
			in := w.inputs[0]
			w.inputs = w.inputs[1:]
			w.do(w.machine.Step(testStart, in))
			if err := w.machine.Check(); err != nil {
				w.t.Error(err)
			}
		}
		if success, ok := w.answers[id]; ok {
			if !success {
				w.t.Errorf("request %s failed", id)
			}
			return
		}
	}
	w.t.Fatal("no answer")
}

func (w *mortal) promise(slot controller.Slot, id string) {
	if got := w.state.Configs[slot].ID; got != id {
		w.t.Errorf("%s was acknowledged as %s, but %q is", id, slot, got)
	}
}

// do carries out what the controller wants, unless that is killed.
func (w *mortal) do(outputs []controller.Output) {
	var changes []controller.Change
	for _, o := range outputs {
		if c, ok := o.(controller.Change); ok {
			changes = append(changes, c)
		}
	}
	if len(changes) > 0 && w.killed() {
		return
	}
	for _, c := range changes {
		w.state.Apply(c)
	}
	for _, o := range outputs {
		if w.killed() {
			return
		}
		switch o := o.(type) {
		case controller.ToClients:
			results := resultsOf(o.Message)
			w.answers[o.Message.RequestID()] = results[len(results)-1].Success
		case controller.ToAgent:
			w.toAgent(o)
		}
	}
}

// killed reports whether the controller was killed just now. Its next life has
// begun then.
func (w *mortal) killed() bool {
	if w.left--; w.left != -1 {
		return false
	}
	w.boot()
	return true
}

func (w *mortal) toAgent(o controller.ToAgent) {
	if msg, ok := o.Message.(zeekapi.AgentDeployRequest); ok {
		if numberOf(msg.Config.ID) < numberOf(w.runs[o.Instance]) {
			w.t.Errorf("%s, which runs %s, is told to run %s", o.Instance, w.runs[o.Instance], msg.Config.ID)
		}
		w.runs[o.Instance] = msg.Config.ID
	}
	if answer := answerTo(o); answer != nil {
		number := map[string]int{"a": 1, "b": 2}[o.Instance]
		w.inputs = append(w.inputs, controller.FromAgent{Peer: peer(number), Message: answer})
	}
}
