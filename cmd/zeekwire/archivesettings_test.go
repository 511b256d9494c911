package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// Logs that nodes rotated while no agent was running are archived when an agent
// starts.
func TestAgentArchives(t *testing.T) {
	state := t.TempDir()
	queue := filepath.Join(state, nodescript.LogQueue)
	if err := os.Mkdir(queue, 0o755); err != nil {
		t.Fatal(err)
	}
	rotated := filepath.Join(queue, "conn__2026-11-22-09-00-00__2026-11-22-10-00-00__.log")
	if err := os.WriteFile(rotated, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(rotated, old, old); err != nil {
		t.Fatal(err)
	}

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
