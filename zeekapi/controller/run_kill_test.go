package controller_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// stateFileVariable names the environment variable with the state file of a process
// that the test kills. It is set only in that process.
const stateFileVariable = "ZEEKWIRE_TEST_STATE_FILE"

// TestStateSurvivesKill kills a controller repeatedly, at random times while it
// handles requests. The state file must have every acknowledged change.
func TestStateSurvivesKill(t *testing.T) {
	if file := os.Getenv(stateFileVariable); file != "" {
		runUntilKilled(t, file)
		return
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "controller.db")
	random := rand.New(rand.NewPCG(1, 1))
	acknowledged := 0
	for range scale(100, 1000) {
		for _, last := range killedOnce(t, file, time.Duration(random.Int64N(int64(60*time.Millisecond)))) {
			acknowledged = last
		}
		store, err := controller.OpenStore(file)
		if err != nil {
			t.Fatal(err)
		}
		state, err := store.Load()
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if acknowledged == 0 {
			continue
		}
		for _, slot := range []controller.Slot{controller.Staged, controller.Deployed} {
			if got := numberOf(state.Configs[slot].ID); got < acknowledged {
				t.Errorf("the %s configuration is %d, but %d was acknowledged", slot, got, acknowledged)
			}
		}
		last := state.History[len(state.History)-1]
		if numberOf(last.Config) < acknowledged || last.Configuration.ID != last.Config {
			t.Errorf("the history ends with %s, but %d was acknowledged", last.Config, acknowledged)
		}
	}
	t.Logf("%d configurations deployed", acknowledged)
}

func numberOf(id string) (n int) {
	_, _ = fmt.Sscanf(id, "c%d", &n)
	return n
}

// killedOnce runs a controller, kills it the given time after its first deployment,
// and returns the numbers of the acknowledged configurations.
func killedOnce(t *testing.T, file string, after time.Duration) (acknowledged []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStateSurvivesKill$")
	cmd.Env = append(os.Environ(), stateFileVariable+"="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n := 0
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &n); err != nil {
			t.Errorf("unexpected output %q of the controller", lines.Text())
			continue
		}
		acknowledged = append(acknowledged, n)
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the controller ended before the kill: %v", err)
	}
	if kill != nil {
		kill.Stop()
	}
	return acknowledged
}

// runUntilKilled deploys configurations until the process is killed, and prints the
// number of each acknowledged one.
func runUntilKilled(t *testing.T, file string) {
	store, err := controller.OpenStore(file)
	if err != nil {
		t.Fatal(err)
	}
	state, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	hub := membus.New()
	bus := hub.Endpoint(controller.Topics(dialects)...)
	go func() {
		t.Error(controller.Run(context.Background(), controller.Config{
			Settings: controller.DefaultSettings(), Buses: []broker.Bus{bus}, Dialects: dialects, Store: store, Log: zerolog.Nop(),
		}))
	}()
	n := &network{t: t, hub: hub}
	n.agent(modern, "a")
	client := n.client(modern)
	for i := numberOf(state.Configs[controller.Staged].ID) + 1; ; i++ {
		for _, msg := range []zeekapi.Message{stage("s", config(fmt.Sprint("c", i), "a")), deploy("d")} {
			client.send(modern.Topics.Controller, msg)
			answer, ok := client.receive()
			for ok && resultsOf(answer) == nil {
				answer, ok = client.receive()
			}
			results := resultsOf(answer)
			if !ok || !results[len(results)-1].Success {
				t.Fatalf("%#v", answer)
			}
		}
		fmt.Println("acknowledged", i)
	}
}
