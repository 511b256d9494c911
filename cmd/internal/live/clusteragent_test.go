package live

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// The first cluster management of Zeek, the ClusterAgent dialect, consists of
// scripts of a commit between two releases. They run on Zeek 5.x, which was
// released later.

// clusterEnv returns an environment in which Zeek finds these scripts.
func (z *installation) clusterEnv(t *testing.T) []string {
	t.Helper()
	scripts := clusterScripts(t, z)
	if !z.atLeast(5, 0) || z.atLeast(6, 0) {
		t.Skipf("the ClusterAgent scripts are for Zeek 5, not %s", z.version)
	}
	return []string{"ZEEKPATH=" + scripts + ":" + z.zeekPath()}
}

// clusterAgent starts the agent of these scripts. It listens and, unless
// controller is 0, also connects to a controller.
func (z *installation) clusterAgent(t *testing.T, env []string, port, controller int, args ...string) {
	t.Helper()
	var script string
	if controller != 0 {
		script = fmt.Sprintf("redef ClusterAgent::controller = [$address=\"127.0.0.1\", $bound_port=%d/tcp];\n", controller)
	}
	file := filepath.Join(t.TempDir(), "agent.zeek")
	if err := os.WriteFile(file, []byte("@load policy/frameworks/cluster/agent/config\n"+script), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "Zeek's ClusterAgent", append(env,
		"ZEEK_AGENT_NAME=agent-one", "ZEEK_AGENT_ADDR=127.0.0.1", fmt.Sprintf("ZEEK_AGENT_PORT=%d/tcp", port),
	), append([]string{z.zeek, "-j", "policy/frameworks/cluster/agent", file,
		fmt.Sprintf("Broker::default_port=%d/tcp", freePort(t)), "Broker::disable_ssl=T"}, args...)...)
}

// clusterController starts the controller of these scripts. It also listens for
// WebSockets.
func (z *installation) clusterController(t *testing.T, env []string) (native, websocket int) {
	t.Helper()
	native, websocket = freePort(t), freePort(t)
	start(t, "Zeek's ClusterController", append(env,
		"ZEEK_CONTROLLER_NAME=controller-one", "ZEEK_CONTROLLER_ADDR=127.0.0.1", fmt.Sprintf("ZEEK_CONTROLLER_PORT=%d/tcp", native),
	), z.zeek, "-j", "policy/frameworks/cluster/controller", listenForWebSockets(t, "CONTROLLER", websocket),
		fmt.Sprintf("Broker::default_port=%d/tcp", freePort(t)), "Broker::disable_ssl=T")
	return native, websocket
}

// listenForWebSockets returns a script that makes the agent or the controller
// listen for WebSockets.
func listenForWebSockets(t *testing.T, process string, port int) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "websocket.zeek")
	text := fmt.Sprintf(`event zeek_init() { if ( getenv("ZEEK_CLUSTER_MGMT_NODE") == %q ) Broker::listen_websocket("127.0.0.1", %d/tcp); }`, process, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// listening returns the configuration of a cluster whose agent listens at a
// port. The controller of these scripts does not assign ports.
func listening(t *testing.T, port int) string {
	return fmt.Sprintf(`
[instances]
agent-one = 127.0.0.1:%d

[manager]
instance = agent-one
role = manager
port = %d

[logger]
instance = agent-one
role = logger
port = %d

[worker]
instance = agent-one
role = worker
`, port, freePort(t), freePort(t))
}

func TestOurControllerDrivesClusterAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		env := z.clusterEnv(t)
		for _, name := range []string{"it connects", "it listens"} {
			t.Run(name, func(t *testing.T) {
				native, websocket := ourController(t, "off")
				c := ours(t, websocket)
				config, port, controller := cluster, freePort(t), native
				if name == "it listens" {
					config, controller = listening(t, port), 0
				}
				z.clusterAgent(t, env, port, controller)
				if controller != 0 {
					c.instances(t, "agent-one")
				}
				c.deploy(t, config)
				c.instances(t, "agent-one")
				c.running(t, "agent-one", nodes...)
			})
		}
	})
}

// TestClusterControllerDrivesOurAgent runs our agent with the controller of
// these scripts. Our client connects natively.
func TestClusterControllerDrivesOurAgent(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		env := z.clusterEnv(t)
		native, _ := z.clusterController(t, env)
		port := freePort(t)
		startOurAgent(t, z, "agent-one", port, "none", "zeek", "off")
		c := client{argv: []string{zeekwire(t), "--controller", at(native), "--transport", "native", "--dialect", "cluster"}}
		c.deploy(t, listening(t, port))
		c.running(t, "agent-one", nodes...)
		c.instances(t, "agent-one")
	})
}

// TestClusterAgentOverWebSocket sends requests to an agent that listens for
// WebSockets.
func TestClusterAgentOverWebSocket(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		env := z.clusterEnv(t)
		port := freePort(t)
		z.clusterAgent(t, env, freePort(t), 0, listenForWebSockets(t, "AGENT", port))
		dialect := clusteragent.Dialect(clusteragent.DefaultTopics)
		topic := dialect.Topics.Agent("agent-one")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var bus *websocket.Client
		eventually(t, "connecting", func() (err error) {
			bus, err = websocket.Dial(ctx, websocket.ClientConfig{Address: at(port), Subscriptions: []string{topic}})
			return err
		})
		defer bus.Close()
		ask := func(request zeekapi.Message) zeekapi.Message {
			t.Helper()
			peertest.Say(ctx, t, bus, dialect, topic, request)
			for {
				answer := peertest.Hear[zeekapi.Message](ctx, t, bus, dialect)
				if answer.RequestID() == request.RequestID() && request.RequestID() != "" {
					return answer
				}
			}
		}
		welcome, ok := ask(zeekapi.AgentWelcomeRequest{ReqID: zeekapi.ReqID{ID: "w"}}).(zeekapi.AgentWelcomeResponse)
		if !ok || !welcome.Result.Success || welcome.Result.Instance != "agent-one" {
			t.Errorf("welcome: %+v", welcome)
		}
		var statuses []zeekapi.NodeStatus
		got, ok := ask(zeekapi.AgentGetNodesRequest{ReqID: zeekapi.ReqID{ID: "n"}}).(zeekapi.AgentGetNodesResponse)
		if err := record.Unmarshal(got.Result.Data, &statuses); !ok || err != nil || len(statuses) == 0 {
			t.Errorf("get-nodes: %+v, %v", got, err)
		}
	})
}
