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

// victimFile says that this process is the one to be killed, and where its
// state is.
const victimFile = "ZEEKWIRE_TEST_VICTIM"

// TestKilled kills a controller again and again, at any moment while it does
// what clients want. Whatever it acknowledged, the next life must know.
func TestKilled(t *testing.T) {
	if file := os.Getenv(victimFile); file != "" {
		beVictim(t, file)
		return
	}
	t.Parallel()
	file := filepath.Join(t.TempDir(), "controller.db")
	random := rand.New(rand.NewPCG(1, 1))
	acknowledged := 0
	for range scale(20, 1000) {
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
				t.Errorf("configuration %d was acknowledged, %d is %s", acknowledged, got, slot)
			}
		}
		last := state.History[len(state.History)-1]
		if numberOf(last.Config) < acknowledged || last.Configuration.ID != last.Config {
			t.Errorf("configuration %d was acknowledged, the history ends with %s", acknowledged, last.Config)
		}
	}
	t.Logf("%d configurations deployed", acknowledged)
}

func numberOf(id string) (n int) {
	_, _ = fmt.Sscanf(id, "c%d", &n)
	return n
}

// killedOnce runs a controller until some time after its first answer, and
// returns what it acknowledged.
func killedOnce(t *testing.T, file string, after time.Duration) (acknowledged []int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), victimFile+"="+file)
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
			t.Errorf("the controller says %q", lines.Text())
			continue
		}
		acknowledged = append(acknowledged, n)
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the controller ended by itself: %v", err)
	}
	if kill != nil {
		kill.Stop()
	}
	return acknowledged
}

// beVictim deploys one configuration after the other, and tells of each.
func beVictim(t *testing.T, file string) {
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
			client.say(modern.Topics.Controller, msg)
			answer, ok := client.hear()
			for ok && resultsOf(answer) == nil {
				answer, ok = client.hear()
			}
			results := resultsOf(answer)
			if !ok || !results[len(results)-1].Success {
				t.Fatalf("%#v", answer)
			}
		}
		fmt.Println("acknowledged", i)
	}
}
