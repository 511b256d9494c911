package live

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// liveCluster is an agent with Zeek nodes, and a controller connected to it.
type liveCluster struct {
	*testing.T
	*peering.Endpoint
	ctx      context.Context // ends after a time limit
	dialect  *zeekapi.Dialect
	stateDir string
	reqs     int
}

func newLiveCluster(t *testing.T, z *installation) *liveCluster {
	t.Helper()
	standIn(t, "a controller in the test")
	c := &liveCluster{T: t, dialect: management.Dialect(management.DefaultTopics), stateDir: t.TempDir()}
	var cancelPatience context.CancelFunc
	c.ctx, cancelPatience = context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancelPatience)
	log := zerolog.New(zerolog.NewTestWriter(t))
	bus, err := peering.New(peering.Config{Subscriptions: agent.Topics("i", c.dialect)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	bound, err := bus.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := netip.MustParseAddrPort(bound.String())
	launcher, err := zeek.New(t.Context(), zeek.Config{
		Binary: z.zeek, StateDir: c.stateDir, Agent: nodescript.Agent{Listen: listen}, TLS: security.Config{Mode: security.Off}, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- agent.Run(ctx, agent.Config{
			Settings: agent.Settings{Name: "i", EndpointID: bus.ID().String(), Listen: listen},
			Bus:      bus, Dialects: []*zeekapi.Dialect{c.dialect},
			Launcher: launcher, StateDir: c.stateDir, Log: log,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		launcher.Close(context.Background())
	})

	if c.Endpoint, err = peering.New(peering.Config{Subscriptions: []string{c.dialect.Topics.AgentPrefix}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.AddPeer(bound.String()); err != nil {
		t.Fatal(err)
	}
	if hello := await[zeekapi.AgentHello](c); hello.Instance != "i" || hello.Connecting {
		t.Fatalf("hello is %+v", hello)
	}
	return c
}

func (c *liveCluster) id() zeekapi.ReqID {
	c.reqs++
	return zeekapi.ReqID{ID: strings.Repeat("r", c.reqs)}
}

// ask sends a request and returns the response.
func ask[M zeekapi.Message](c *liveCluster, m zeekapi.Message) M {
	c.Helper()
	peertest.Say(c.ctx, c, c, c.dialect, c.dialect.Topics.Agent("i"), m)
	return await[M](c)
}

func await[M zeekapi.Message](c *liveCluster) M {
	c.Helper()
	checked(c.T)
	return peertest.Hear[M](c.ctx, c, c, c.dialect)
}

func liveConfiguration(t *testing.T, id string) zeekapi.Configuration {
	node := func(name string, role zeekapi.ClusterRole) zeekapi.Node {
		n := zeekapi.Node{Name: name, Instance: "i", Role: role, State: zeekapi.StateRunning, MetricsPort: broker.TCP(uint16(freePort(t)))}
		if role != zeekapi.RoleWorker {
			n.Port = broker.TCP(uint16(freePort(t)))
		}
		return n
	}
	worker := node("worker", zeekapi.RoleWorker)
	worker.Env = map[string]string{"FOO": "BAR"}
	worker.Scripts = []string{"policy/tuning/json-logs"}
	return zeekapi.Configuration{
		ID:        id,
		Instances: []zeekapi.Instance{{Name: "i", Host: netip.MustParseAddr("127.0.0.1")}},
		Nodes:     []zeekapi.Node{node("manager", zeekapi.RoleManager), node("logger", zeekapi.RoleLogger), worker},
	}
}

// check checks that there is a successful result for each node. On a busy
// machine nodes may be late; check waits for them.
func (c *liveCluster) check(results []zeekapi.Result, nodes int) {
	c.Helper()
	if slices.ContainsFunc(results, func(r zeekapi.Result) bool { return r.Error == zeekapi.ErrorTimeout }) {
		c.Logf("nodes are late: %+v", results)
		c.await("all nodes running", func() bool {
			for _, s := range c.statuses() {
				if s.State != zeekapi.StateRunning {
					return false
				}
			}
			return true
		})
		return
	}
	if len(results) != nodes {
		c.Errorf("%d results, want %d: %+v", len(results), nodes, results)
	}
	for _, r := range results {
		if !r.Success {
			c.Errorf("%+v", r)
		}
	}
}

func (c *liveCluster) value(node, id string) string {
	c.Helper()
	results := ask[zeekapi.AgentDispatchResponse](c, zeekapi.AgentDispatchRequest{
		ReqID: c.id(), Action: []string{"get_id_value", id}, Nodes: []string{node},
	}).Results
	if len(results) != 1 {
		c.Fatalf("%d results, want 1", len(results))
	}
	if !results[0].Success {
		return results[0].Error
	}
	text, _ := results[0].Data.Text()
	return text
}

// TestZeekLauncher checks that the nodes behave as the agent reports.
func TestZeekLauncher(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		c := newLiveCluster(t, z)
		config := liveConfiguration(t, "c1")
		began := time.Now()
		c.check(ask[zeekapi.AgentDeployResponse](c, zeekapi.AgentDeployRequest{ReqID: c.id(), Config: config}).Results, 3)
		t.Logf("deployed in %s", time.Since(began))

		for id, want := range map[string]string{
			"Cluster::node":              `"worker"`,
			"LogAscii::use_json":         `true`,
			"Cluster::manager_is_logger": `false`,
			"ZeekwireNode::topic":        `"zeek/management/node"`,
			"nosuchid":                   "unknown id",
		} {
			if got := c.value("worker", id); got != want {
				t.Errorf("%s is %s, want %s", id, got, want)
			}
		}
		for id, want := range map[string]string{
			"Log::default_rotation_postprocessor_cmd": `""`,
			"LogAscii::enable_leftover_log_rotation":  `true`,
		} {
			if got := c.value("logger", id); got != want {
				t.Errorf("%s of the logger is %s, want %s", id, got, want)
			}
		}
		if got := c.value("logger", "Log::default_rotation_dir"); !strings.HasSuffix(got, `/log-queue"`) || !strings.HasPrefix(got, `"/`) {
			t.Errorf("Log::default_rotation_dir of the logger is %s", got)
		}
		if got := c.value("manager", "Cluster::nodes"); !strings.Contains(got, `"logger"`) || !strings.Contains(got, `"worker"`) {
			t.Errorf("the cluster layout is %s", got)
		}

		// The worker connects to the other nodes, and its logs go to the logger.
		c.check(ask[zeekapi.AgentRestartResponse](c, zeekapi.AgentRestartRequest{ReqID: c.id(), Nodes: []string{"worker"}}).Results, 1)
		c.awaitFile(filepath.Join(c.stateDir, "nodes", "logger", "cluster.log"))

		// A worker without its interface fails; unchanged nodes keep running.
		var pids [2]map[string]int64
		pids[0] = c.pids()
		config.ID = "c2"
		config.Nodes[2].Interface = "nosuchdev"
		results := ask[zeekapi.AgentDeployResponse](c, zeekapi.AgentDeployRequest{ReqID: c.id(), Config: config}).Results
		worker := results[len(results)-1]
		var outputs zeekapi.NodeOutputs
		if err := record.Unmarshal(worker.Data, &outputs); err != nil || worker.Success || !strings.Contains(outputs.Stderr, "nosuchdev") {
			t.Errorf("worker without interface: %+v, %v", worker, err)
		}
		pids[1] = c.pids()
		for _, name := range []string{"manager", "logger"} {
			if pids[0][name] != pids[1][name] || pids[0][name] == 0 {
				t.Errorf("%s was restarted: %v", name, pids)
			}
		}

		ask[zeekapi.AgentStandbyResponse](c, zeekapi.AgentStandbyRequest{})
		for still := map[string]bool{"manager": true, "logger": true}; len(still) > 0; {
			if change := await[zeekapi.AgentChange](c); change.New == zeekapi.StateStopped {
				delete(still, change.Node.Name)
			}
		}
		if rotated, _ := filepath.Glob(filepath.Join(c.stateDir, "log-queue", "cluster__*.log")); len(rotated) != 1 {
			t.Errorf("rotated: %q", rotated)
		}
	})
}

func (c *liveCluster) statuses() (statuses []zeekapi.NodeStatus) {
	c.Helper()
	if err := record.Unmarshal(ask[zeekapi.AgentGetNodesResponse](c, zeekapi.AgentGetNodesRequest{ReqID: c.id()}).Result.Data, &statuses); err != nil {
		c.Fatal(err)
	}
	return statuses
}

func (c *liveCluster) pids() map[string]int64 {
	c.Helper()
	pids := make(map[string]int64)
	for _, s := range c.statuses() {
		pids[s.Node] = s.PID
	}
	return pids
}

func (c *liveCluster) awaitFile(name string) {
	c.Helper()
	c.await("file "+name, func() bool {
		_, err := os.Stat(name)
		return err == nil
	})
}

func (c *liveCluster) await(what string, there func() bool) {
	c.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !there() {
		select {
		case <-look.C:
		case <-c.ctx.Done():
			c.Fatalf("timeout waiting for %s", what)
		}
	}
}
