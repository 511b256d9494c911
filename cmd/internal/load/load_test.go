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
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var (
	sizes   = flag.String("load.agents", "10,50", "numbers of agents, from few to many, with commas between")
	times   = flag.Bool("load.times", false, "judge also how long it takes; for a machine with nothing else to do")
	tlsMode = flag.String("load.tls", "anonymous", "mode of TLS between controller and agents: off or anonymous")
)

// patience is for giving up, never for measuring.
const patience = 5 * time.Minute

// sample is what a controller with that many agents takes.
type sample struct {
	agents int

	// What a client waits for.
	join, deploy, getNodes, restart time.Duration

	// Of the controller's process, over its life. The memory is its largest.
	cpu    time.Duration
	memory int64 // bytes
}

// tolerance is for what else the machine does.
const tolerance = 1.5

// TestLoad lets few agents and then many join a controller, and has a client
// deploy a cluster of a node for each, look at it and restart it. What that
// costs the controller must not grow faster than the number of agents. How long
// it takes, which depends on what else the machine does, is only judged if it
// is asked for.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("two processes with many agents")
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

// build returns the binary, which it builds once.
func build(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildOnce = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ZEEKWIRE"); path != "" {
		return path, nil
	}
	path := filepath.Join(binaries, "zeekwire")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../../zeekwire")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does, most of which then is there already
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building zeekwire: %w\n%s", err, out)
	}
	return path, nil
})

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
			t.Fatalf("get-nodes tells of %d instances, want %d", len(nodes), n)
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

// median returns how long f takes, of a few times. What is to be done before
// each does not count.
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

// cluster is a configuration with a node on each instance. All nodes have to
// start anew for another round.
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

// process is a controller.
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

// connect returns a client with a token, if that is not "".
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

// end stops the controller and returns what it took.
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
