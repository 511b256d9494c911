package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// TestAgentDirectory checks that an agent creates its directory below that of the nodes,
// and that it continues with the state of an early version where that is.
func TestAgentDirectory(t *testing.T) {
	layer, err := security.New(security.Config{})
	if err != nil {
		t.Fatal(err)
	}
	run := func(s *agentSettings) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		agent := agentService{settings: s, security: layer, started: func(net.Addr) { cancel() }}
		if err := agent.run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := t.TempDir()
	for directory, want := range map[string]string{"": "nodes/i", "own": "nodes/own", elsewhere: elsewhere} {
		state := t.TempDir()
		if !filepath.IsAbs(want) {
			want = filepath.Join(state, want)
		}
		s := newSimulatedAgent("i", state)
		s.directory = directory
		run(s)
		if _, err := os.Stat(filepath.Join(want, "agents", "i.lock")); err != nil {
			t.Errorf("directory %q: %v", directory, err)
		}
	}

	state := t.TempDir()
	early := filepath.Join(state, "agents", "i.json")
	if err := os.MkdirAll(filepath.Dir(early), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(early, []byte(`{"version":3,"assignment":null}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSimulatedAgent("i", state)
	run(s)
	if got := s.agentDir(); got != state {
		t.Errorf("state of an early version: the directory is %s", got)
	}
	if _, err := os.Stat(filepath.Join(state, "agents", "i.lock")); err != nil {
		t.Error(err)
	}
}

func TestNodeArgs(t *testing.T) {
	s := newAgentSettings()
	set := func(text string) error {
		return s.t.Load("", func(name string) string {
			if name == "ZEEKWIRE_AGENT_NODE_ARGS" {
				return text
			}
			return ""
		}, nil)
	}
	if err := set(`local -C "X::y=two words" a\ b`); err != nil {
		t.Fatal(err)
	}
	want := []string{"local", "-C", "X::y=two words", "a b"}
	if diff := cmp.Diff(want, s.nodes.args); diff != "" {
		t.Error(diff)
	}
	if got, want := shlex.Join(s.nodes.args), "local -C 'X::y=two words' 'a b'"; got != want {
		t.Errorf("formatted as %s, want %s", got, want)
	}
	s.launcher = launcherSupervisor
	if err := s.check(); err == nil || !strings.Contains(err.Error(), "nodes of a Supervisor") {
		t.Errorf("with a Supervisor: %v", err)
	}
	for _, wrong := range []string{"-i eth0", "'open"} {
		if err := set(wrong); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
