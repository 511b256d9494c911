package load

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var (
	sizes   = flag.String("load.agents", "10,50", "numbers of agents in ascending order, separated by commas")
	times   = flag.Bool("load.times", false, "check durations as well; requires an otherwise idle machine")
	tlsMode = flag.String("load.tls", "anonymous", "TLS mode between controller and agents: off or anonymous")
	onEtcd  = flag.Bool("load.etcd", false, "store the controller's state in an etcd with one member")
)

// patience limits the duration of a test. It only makes failing tests end; it
// is not a measure of performance.
const patience = 5 * time.Minute

// patienceFor is patience for a measurement with n agents.
func patienceFor(n int) time.Duration { return patience + time.Duration(n)*60*time.Millisecond }

// restFor is the time for which a controller with n agents does nothing before its memory is
// measured: Go returns memory that a deployment no longer needs within some seconds.
func restFor(n int) time.Duration { return time.Duration(n) * 2 * time.Millisecond }

// Limits with 10 000 agents, which are checked with -load.times.
const (
	largest     = 10_000
	deployLimit = 6 * time.Second
	againLimit  = 20 * time.Second
	memoryLimit = 60_000 // bytes for each agent
)

// sample is a measurement of a controller with the given number of agents.
type sample struct {
	agents int

	// first is the duration of the first deployment, before which agents do not have the
	// layout of the cluster.
	first time.Duration

	// Durations of a client's calls.
	join, deploy, getNodes, restart, status time.Duration

	// again is the time from the start of a new process of the controller until all agents
	// have connected again.
	again time.Duration

	// CPU time of both processes of the controller, peak memory of the first one, and the
	// memory that each agent adds at rest, after the first deployment.
	cpu              time.Duration
	memory, perAgent int64 // bytes
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
	binary := testbinary.Path(t)
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
		check("the first deployment", few.first.Seconds(), many.first.Seconds())
		check("deploying", few.deploy.Seconds(), many.deploy.Seconds())
		check("get-nodes", few.getNodes.Seconds(), many.getNodes.Seconds())
		check("restarting", few.restart.Seconds(), many.restart.Seconds())
		check("the status", few.status.Seconds(), many.status.Seconds())
		checkLargest(t, many)
	}
}

// checkLargest checks a measurement with the largest number of agents.
func checkLargest(t *testing.T, s sample) {
	if s.agents < largest {
		return
	}
	if s.deploy > deployLimit {
		t.Errorf("deploying takes %v, want at most %v", s.deploy, deployLimit)
	}
	if s.again > againLimit {
		t.Errorf("it takes %v until all agents have connected again, want at most %v", s.again, againLimit)
	}
	if s.perAgent > memoryLimit {
		t.Errorf("each agent needs %d bytes, want at most %d", s.perAgent, memoryLimit)
	}
}

func report(t *testing.T, samples []sample) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "agents\tjoin\tfirst deploy\tdeploy\tget-nodes\trestart\tstatus\tagain\tCPU\tpeak memory\tCPU/agent\tmemory/agent\t")
	for _, s := range samples {
		fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t%d KiB\t%v\t%d B\t\n", s.agents,
			round(s.join), round(s.first), round(s.deploy), round(s.getNodes), round(s.restart), round(s.status), round(s.again),
			round(s.cpu), s.memory>>10, round(s.cpu/time.Duration(s.agents)), s.perAgent)
	}
	w.Flush()
	t.Logf("agents with a simulated node each, TLS %s, etcd %v\n%s", *tlsMode, *onEtcd, b.String())
	for _, column := range []struct {
		name string
		of   func(sample) time.Duration
	}{
		{"join", func(s sample) time.Duration { return s.join }},
		{"first deploy", func(s sample) time.Duration { return s.first }},
		{"deploy", func(s sample) time.Duration { return s.deploy }},
		{"get-nodes", func(s sample) time.Duration { return s.getNodes }},
		{"restart", func(s sample) time.Duration { return s.restart }},
		{"status", func(s sample) time.Duration { return s.status }},
		{"again", func(s sample) time.Duration { return s.again }},
	} {
		exponent, each := fit(samples, column.of)
		t.Logf("%s: grows with the number of agents to the power of %.2f; %v for each of the largest number", column.name, exponent, round(each))
	}
}

// fit returns the exponent of the power of the number of agents that fits durations best, by
// least squares of the logarithms, and the duration for each agent of the largest number. An
// exponent of 1 is linear growth. It is not a number if there is only one measurement.
func fit(samples []sample, of func(sample) time.Duration) (exponent float64, each time.Duration) {
	var x, y, xx, xy float64
	n := float64(len(samples))
	for _, s := range samples {
		lx, ly := math.Log(float64(s.agents)), math.Log(float64(of(s)))
		x, y, xx, xy = x+lx, y+ly, xx+lx*lx, xy+lx*ly
	}
	last := samples[len(samples)-1]
	return (n*xy - x*y) / (n*xx - x*x), of(last) / time.Duration(last.agents)
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

func measure(t *testing.T, binary string, n int) sample {
	ctx, cancel := context.WithTimeout(t.Context(), patienceFor(n))
	defer cancel()
	var args []string
	if *onEtcd {
		args = []string{"--store", "etcd", "--etcd-endpoints", strings.Join(etcdtest.Start(t, 1).Endpoints(), ",")}
	}
	c := startController(t, binary, args...)
	conn := c.connect(ctx, t, "")
	s := sample{agents: n}
	empty := c.resident(t)
	s.join = timed(func() { c.join(ctx, t, conn, n) })
	stage(ctx, t, conn, n, -1)
	s.first = timed(func() { deploy(ctx, t, conn, n) })
	time.Sleep(restFor(n))
	s.perAgent = (c.resident(t) - empty) / int64(n)
	measureCalls(ctx, t, conn, n, &s)
	conn.Close()
	s.cpu, s.memory = c.end(t)

	s.again = timed(func() {
		c.start(t)
		conn = c.connect(ctx, t, "")
		connected(ctx, t, conn, n)
	})
	conn.Close()
	cpu, _ := c.end(t)
	s.cpu += cpu
	return s
}

// measureCalls measures calls of a client with n agents.
func measureCalls(ctx context.Context, t *testing.T, conn *client.Client, n int, s *sample) {
	rounds := max(3, min(15, 15_000/n))
	s.deploy = median(rounds, func(round int) { stage(ctx, t, conn, n, round) }, func() { deploy(ctx, t, conn, n) })
	nothing := func(int) {}
	s.getNodes = median(rounds, nothing, func() {
		nodes, err := conn.GetNodes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes) != n {
			t.Fatalf("get-nodes returns %d instances, want %d", len(nodes), n)
		}
	})
	s.restart = median(rounds, nothing, func() {
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
	s.status = median(rounds, nothing, func() {
		if _, err := conn.Status(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// join starts n agents of the controller, and waits until all of them are connected.
func (p *process) join(ctx context.Context, t *testing.T, conn *client.Client, n int) {
	t.Helper()
	startAgents(t, n, p.native, *tlsMode)
	connected(ctx, t, conn, n)
}

// connected waits until n agents are connected. It leaves the machine to them for nine tenths
// of the time. Zeek's controller ignores requests
// until it has started.
func connected(ctx context.Context, t *testing.T, conn *client.Client, n int) {
	t.Helper()
	for {
		began := time.Now()
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		instances, err := conn.GetInstances(asking)
		unheard := asking.Err() != nil && ctx.Err() == nil
		cancel()
		var refused *client.RefusedError // the controller does not lead yet, with etcd
		if err != nil && !unheard && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if len(instances) == n {
			return
		}
		time.Sleep(min(time.Second, max(50*time.Millisecond, 9*time.Since(began))))
	}
}

// stage stages the configuration of a round for n agents.
func stage(ctx context.Context, t *testing.T, conn *client.Client, n, round int) {
	t.Helper()
	if _, err := conn.Stage(ctx, cluster(n, round)); err != nil {
		t.Fatal(err)
	}
}

// deploy deploys the staged configuration, which has n nodes.
func deploy(ctx context.Context, t *testing.T, conn *client.Client, n int) {
	t.Helper()
	d, err := conn.Deploy(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Errors) > 0 || len(d.Nodes) != n {
		t.Fatalf("deployed %d nodes, want %d, and errors %v", len(d.Nodes), n, d.Errors)
	}
}

// median returns the median duration of some calls of f. The duration of
// before, which prepares each call, is not included.
func median(rounds int, before func(round int), f func()) time.Duration {
	took := make([]time.Duration, rounds)
	for round := range took {
		before(round)
		took[round] = timed(f)
	}
	slices.Sort(took)
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
		c.Instances = append(c.Instances, zeekapi.Instance{Name: instance(i), Host: netip.IPv4Unspecified()})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: fmt.Sprintf("node-%04d", i), Instance: instance(i), Role: role, State: zeekapi.StateRunning, Env: env})
	}
	return c
}

// process is a controller process. It may be started again after its end.
type process struct {
	cmd               *exec.Cmd
	command, env      []string
	native, websocket string
	stderr            *os.File
}

func startController(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	p := &process{native: peertest.FreeAddress(t), websocket: peertest.FreeAddress(t)}
	p.command = append([]string{binary, "controller", "--name", "controller", "--state-dir", t.TempDir(), "--tls", *tlsMode,
		"--listen", p.native, "--websocket-listen", p.websocket, "--log-level", "warn", "--request-timeout-interval", "2m"}, args...)
	p.startFirst(t)
	return p
}

// startFirst starts the process, and stops it at the end of the test.
func (p *process) startFirst(t *testing.T) {
	t.Helper()
	var err error
	if p.stderr, err = os.Create(filepath.Join(t.TempDir(), "stderr")); err != nil {
		t.Fatal(err)
	}
	p.start(t)
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
}

// start starts the process.
func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), p.env...), p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// resident returns the memory of the process in bytes, 0 if the system has no /proc.
func (p *process) resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// connect returns a client. It uses the token unless that is empty.
func (p *process) connect(ctx context.Context, t *testing.T, token string) *client.Client {
	t.Helper()
	for {
		bus, err := websocket.Dial(ctx, websocket.ClientConfig{
			Address: p.websocket, Header: bearer(token),
			Subscriptions: []string{management.DefaultTopics.Controller, operations.DefaultTopics.Controller},
		})
		if err == nil {
			return client.New(bus, management.Dialect(management.DefaultTopics), operations.Dialect(operations.DefaultTopics))
		}
		// A controller that starts first opens and closes its ports to check them.
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
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
