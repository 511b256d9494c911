package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var (
	sizes   = flag.String("load.agents", "10,50", "numbers of agents in ascending order, separated by commas")
	times   = flag.Bool("load.times", false, "check durations as well; requires an otherwise idle machine")
	tlsMode = flag.String("load.tls", "anonymous", "TLS mode between controller and agents: off or anonymous")
)

// patience limits the duration of a test. It only makes failing tests end; it
// is not a measure of performance.
const patience = 5 * time.Minute

// sample is a measurement of a controller with the given number of agents.
type sample struct {
	agents int

	// Durations of a client's calls.
	join, deploy, getNodes, restart time.Duration

	// CPU time and peak memory of the controller's process.
	cpu    time.Duration
	memory int64 // bytes
}

// tolerance allows for other load on the machine.
const tolerance = 1.5

// TestLoad measures a controller first with few agents, then with many. A
// client deploys a cluster with one node for each agent, lists the nodes and
// restarts them. The CPU time and memory of the controller must not grow faster
// than the number of agents. Durations depend on other load on the machine, and
// are only checked with -load.times.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two processes with many agents")
	}
	binary := build(t)
	var samples []sample
	for number := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(number, func(t *testing.T) { samples = append(samples, measure(t, binary, n)) })
	}
	if t.Failed() {
		return
	}
	report(t, samples)
	few, many := samples[0], samples[len(samples)-1]
	limit := float64(many.agents) / float64(few.agents)
	check := func(what string, few, many float64) {
		if growth := many / few; growth > limit*tolerance {
			t.Errorf("%s grows by %.1f, the number of agents by %.1f", what, growth, limit)
		}
	}
	check("the controller's CPU time", few.cpu.Seconds(), many.cpu.Seconds())
	check("the controller's memory", float64(few.memory), float64(many.memory))
	if *times {
		check("joining", few.join.Seconds(), many.join.Seconds())
		check("deploying", few.deploy.Seconds(), many.deploy.Seconds())
		check("get-nodes", few.getNodes.Seconds(), many.getNodes.Seconds())
		check("restarting", few.restart.Seconds(), many.restart.Seconds())
	}
}

func report(t *testing.T, samples []sample) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "agents\tjoin\tdeploy\tget-nodes\trestart\tCPU\tmemory\tCPU/agent\tmemory/agent\t")
	for _, s := range samples {
		n := time.Duration(s.agents)
		fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%v\t%v\t%d KiB\t%v\t%d KiB\t\n", s.agents,
			round(s.join), round(s.deploy), round(s.getNodes), round(s.restart),
			round(s.cpu), s.memory>>10, round(s.cpu/n), s.memory>>10/int64(n))
	}
	w.Flush()
	t.Logf("agents with a simulated node each, TLS %s\n%s", *tlsMode, b.String())
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// build returns the path of the binary. It builds the binary once.
func build(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildOnce = sync.OnceValues(func() (string, error) { return testbinary.Build(binaries) })

func measure(t *testing.T, binary string, n int) sample {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := startController(t, binary)
	conn := c.connect(ctx, t, "")
	s := sample{agents: n}

	s.join = timed(func() {
		startAgents(t, n, c.native, *tlsMode)
		for {
			instances, err := conn.GetInstances(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(instances) == n {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	stage := func(round int) {
		if _, err := conn.Stage(ctx, cluster(n, round)); err != nil {
			t.Fatal(err)
		}
	}
	s.deploy = median(stage, func() {
		d, err := conn.Deploy(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Errors) > 0 || len(d.Nodes) != n {
			t.Fatalf("deployed %d nodes, want %d, and errors %v", len(d.Nodes), n, d.Errors)
		}
	})
	nothing := func(int) {}
	s.getNodes = median(nothing, func() {
		nodes, err := conn.GetNodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes) != n {
			t.Fatalf("get-nodes returns %d instances, want %d", len(nodes), n)
		}
	})
	s.restart = median(nothing, func() {
		results, err := conn.Restart(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if !r.Success {
				t.Fatalf("restart of %s: %s", r.Node, r.Error)
			}
		}
		if len(results) != n {
			t.Fatalf("restarted %d nodes, want %d", len(results), n)
		}
	})
	conn.Close()
	s.cpu, s.memory = c.end(t)
	return s
}

// median returns the median duration of a few calls of f. The duration of
// before, which prepares each call, is not included.
func median(before func(round int), f func()) time.Duration {
	var took [15]time.Duration
	for round := range took {
		before(round)
		took[round] = timed(f)
	}
	slices.Sort(took[:])
	return took[len(took)/2]
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// cluster returns a configuration with one node on each instance. Another round
// changes all nodes, so that they are restarted.
func cluster(n, round int) zeekapi.Configuration {
	c := zeekapi.Configuration{ID: fmt.Sprintf("load-%d", round)}
	env := map[string]string{"ROUND": strconv.Itoa(round)}
	for i := range n {
		role := zeekapi.RoleWorker
		switch i {
		case 0:
			role = zeekapi.RoleManager
		case 1:
			role = zeekapi.RoleLogger
		}
		c.Instances = append(c.Instances, zeekapi.Instance{Name: instance(i)})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: fmt.Sprintf("node-%04d", i), Instance: instance(i), Role: role, State: zeekapi.StateRunning, Env: env})
	}
	return c
}

// process is a controller process.
type process struct {
	cmd               *exec.Cmd
	native, websocket string
	stderr            *os.File
}

func startController(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{native: peertest.FreeAddress(t), websocket: peertest.FreeAddress(t)}
	var err error
	if p.stderr, err = os.Create(filepath.Join(t.TempDir(), "stderr")); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(binary, append([]string{"controller", "--name", "controller", "--state-dir", t.TempDir(), "--tls", *tlsMode,
		"--listen", p.native, "--websocket-listen", p.websocket, "--log-level", "warn", "--request-timeout-interval", "2m"}, args...)...)
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		p.stderr.Close()
		if text, _ := os.ReadFile(p.stderr.Name()); t.Failed() && len(text) > 0 {
			t.Logf("the controller's log:\n%.4000s", text)
		}
	})
	return p
}

// connect returns a client. It uses the token unless that is empty.
func (p *process) connect(ctx context.Context, t *testing.T, token string) *client.Client {
	t.Helper()
	for {
		bus, err := websocket.Dial(ctx, websocket.ClientConfig{
			Address: p.websocket, Subscriptions: []string{management.DefaultTopics.Controller}, Header: bearer(token),
		})
		if err == nil {
			return client.New(bus, management.Dialect(management.DefaultTopics))
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func bearer(token string) http.Header {
	if token == "" {
		return nil
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// end stops the controller and returns its CPU time and peak memory.
func (p *process) end(t *testing.T) (cpu time.Duration, memory int64) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the controller ends with %v", err)
	}
	state := p.cmd.ProcessState
	usage := state.SysUsage().(*syscall.Rusage)
	return state.UserTime() + state.SystemTime(), usage.Maxrss * maxrssUnit
}
