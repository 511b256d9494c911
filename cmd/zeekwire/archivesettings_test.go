package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/archive"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// Logs that nodes rotated while no agent was running are archived when an agent
// starts.
func TestAgentArchives(t *testing.T) {
	state := t.TempDir()
	rotated := rotate(t, state, "conn")
	layer, err := security.New(security.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	agent := agentService{settings: newSimulatedAgent("i", state), security: layer, started: func(net.Addr) {}}
	done := make(chan error, 1)
	go func() { done <- agent.run(ctx) }()
	archived := filepath.Join(state, "logs", "2026-11-22", "conn.09:00:00-10:00:00.log.gz")
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for {
		if _, err := os.Stat(archived); err == nil {
			break
		}
		select {
		case <-look.C:
		case err := <-done:
			t.Fatal(err)
		case <-late:
			t.Fatal("the log is not archived")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(rotated); !os.IsNotExist(err) {
		t.Errorf("the log is still in the queue: %v", err)
	}
}

// Logs that a node rotated when it ended do not wait for the interval.
func TestArchiverFollowsNodes(t *testing.T) {
	for name, in := range map[string]agent.Input{
		"ended":      agent.Launched{Event: launch.Exited{Node: "logger"}},
		"revived":    agent.Launched{Event: launch.Revived{Node: "logger"}},
		"is up":      agent.Launched{Event: launch.Up{Node: "logger"}},
		"said hello": agent.Received{Message: zeekapi.NodeHello{Node: "logger"}},
	} {
		if !mayRotate(in) {
			t.Errorf("no logs are archived when a node %s", name)
		}
	}
	state := t.TempDir()
	machine, err := agent.NewMachine(agent.Settings{Name: "i"}, agent.State{})
	if err != nil {
		t.Fatal(err)
	}
	a := archiveSettings{on: true}.start(t.Context(), "", state, state, zerolog.Nop())
	archived := func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if queue, err := os.ReadDir(filepath.Join(state, nodescript.LogQueue)); err == nil && len(queue) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the log is still in the queue")
			}
		}
	}
	rotate(t, state, "conn")
	a.observe(machine, agent.Launched{Event: launch.Exited{Node: "logger"}})
	archived()
	rotate(t, state, "dns")
	a.observe(machine, agent.Launched{Event: launch.Exited{Node: "logger"}})
	archived()
	a.stop()
	rotate(t, state, "http")
	a.finish(t.Context())
	archived()

	off := archiveSettings{}.start(t.Context(), "", state, state, zerolog.Nop())
	off.observe(machine, agent.Launched{Event: launch.Exited{}})
	off.stop()
	off.finish(t.Context())
}

// rotate puts a log into the queue of an agent, old enough to be archived.
func rotate(t *testing.T, state, log string) string {
	t.Helper()
	queue := filepath.Join(state, nodescript.LogQueue)
	if err := os.MkdirAll(queue, 0o755); err != nil {
		t.Fatal(err)
	}
	rotated := filepath.Join(state, log)
	if err := os.WriteFile(rotated, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(rotated, old, old); err != nil {
		t.Fatal(err)
	}
	queued := filepath.Join(queue, log+"__2026-11-22-09-00-00__2026-11-22-10-00-00__.log")
	if err := os.Rename(rotated, queued); err != nil {
		t.Fatal(err)
	}
	return queued
}

// Texts of sizes and ages that settings print are those that they accept.
func TestArchiveTexts(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0", 1: "1", 1024: "1K", 1536: "1536", 500 << 30: "500G", 1 << 50: "1024T"} {
		if got := formatBytes(bytes); got != want {
			t.Errorf("%d bytes are %q, want %q", bytes, got, want)
		}
		if got, err := zeekapi.ParseMemory(want); err != nil || got != bytes {
			t.Errorf("%q is %d bytes, %v", want, got, err)
		}
	}
	for age, want := range map[time.Duration]string{0: "0", 30 * 24 * time.Hour: "30d", 36 * time.Hour: "36h0m0s"} {
		if got := formatAge(age); got != want {
			t.Errorf("%s is %q, want %q", age, got, want)
		}
		if got, err := zeekapi.ParseExpiry(want); err != nil || got != age {
			t.Errorf("%q is %s, %v", want, got, err)
		}
	}
}

// The age at which logs expire is that of the configuration, or else that of the agent.
func TestArchiverFollowsExpiry(t *testing.T) {
	state := t.TempDir()
	a := archiveSettings{on: true, expiry: time.Hour, size: 7}.start(t.Context(), "", state, state, zerolog.Nop())
	defer a.stop()
	for option, want := range map[string]time.Duration{"": time.Hour, "2h": 2 * time.Hour, "0": 0} {
		n := zeekapi.Node{Name: "w", Instance: "i", Role: zeekapi.RoleNone}
		if option != "" {
			n.Options = []zeekapi.Option{{Name: zeekapi.OptionLogExpiry, Value: option}}
		}
		assigned := &agent.Assignment{ID: "c", Nodes: []zeekapi.Node{n}, Layout: "w NONE - - -\n"}
		m, err := agent.NewMachine(agent.Settings{Name: "i"}, agent.State{Known: true, Assignment: assigned})
		if err != nil {
			t.Fatal(err)
		}
		a.observe(m, agent.Tick{})
		if got := a.config.Limits(); got != (archive.Limits{Age: want, Size: 7}) {
			t.Errorf("option %q: %+v, want %s", option, got, want)
		}
	}
}
