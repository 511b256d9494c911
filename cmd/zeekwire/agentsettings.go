package main

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// agentSettings are all settings of an agent.
type agentSettings struct {
	serviceSettings
	controllers []string // addresses
	callers     callers
	launcher    string
	zeek        string
	onExit      string
	supervisor  string
	backend     string
	scenario    string
	transport   string
	archive     archiveSettings
	nodes       nodeSettings
}

func newAgentSettings() *agentSettings {
	const module, variable = "Management::Agent", "ZEEK_AGENT"
	s := &agentSettings{
		serviceSettings: newServiceSettings("agent", module, variable),
		controllers:     []string{"127.0.0.1:2150"},
		launcher:        launcherZeek,
		zeek:            "zeek",
		onExit:          exitStop,
		supervisor:      net.JoinHostPort("127.0.0.1", strconv.Itoa(control.Port)),
		archive:         defaultArchive(),
		backend:         backendAuto,
		transport:       transportAuto,
	}
	s.native.defaultPort = broker.TCP(2151)
	s.requestTimeout = agent.RequestTimeout

	s.addIdentity(module, variable)
	s.t.Group("Addresses")
	s.t.Add(settings.Setting{
		Name: "controller", Common: true,
		Help: "connect to the controller at `HOST:PORT`, or to several with commas between; none: wait for it to connect",
		Zeek: module + "::controller",
		Env:  []settings.Variable{{Name: "ZEEK_CONTROLLER_PORT", Convert: controllerAtPort}},
		Value: settings.Parsed(&s.controllers, parseControllers, func(list []string) string {
			if len(list) == 0 {
				return settings.None
			}
			return strings.Join(list, ", ")
		}),
	}, settings.Setting{
		Name: "obey",
		Help: "obey also controllers that connect from a `LIST` of addresses, networks and names in certificates; all: anybody. " +
			"Empty: nobody, but anybody if the agent connects to no controller",
		Value: settings.Parsed(&s.callers, parseCallers, callers.String),
	})
	s.native.add(s.t, "listen", "listen for nodes and controllers at `HOST:PORT`")
	s.addDefaultAddress()
	s.addConnecting()
	s.addTLS()

	s.t.Group("Nodes")
	s.addRequestTimeout()
	s.nodes.add(s.t)
	s.t.Add(
		settings.Setting{
			Name: "launcher", Value: settings.Choice(&s.launcher, launcherZeek, launcherSupervisor, launcherSimulated), Common: true,
			Help: "run nodes as `KIND`: zeek, real processes; supervisor, by a \"zeek -j\"; or simulated",
		},
		settings.Setting{
			Name: "zeek", Value: settings.Text(&s.zeek), Common: true,
			Help: "the zeek program, a `PATH` or a name in $PATH",
		},
		settings.Setting{
			Name: "scenario", Value: settings.Text(&s.scenario), Common: true,
			Help: "with --launcher simulated: what the nodes are like, a `FILE`; empty: they do as they are told",
		},
		settings.Setting{
			Name: "cluster-backend", Value: settings.Choice(&s.backend, backendAuto, string(zeek.Broker), string(zeek.ZeroMQ)),
			Help: "with --launcher zeek and Zeek 8.1 or later: nodes talk to each other by `KIND`, unless their scripts load another: broker; zeromq; auto, by Broker as long as Zeek has it. All agents must have the same",
			Zeek: "Cluster::backend",
		},
		settings.Setting{
			Name: "node-transport", Value: settings.Choice(&s.transport, transportAuto, transportBroker, transportWebSocket),
			Help: "with --launcher zeek: nodes connect to the agent by broker, or the agent to nodes by websocket, in the clear on this machine; auto: by broker as long as Zeek has it",
		},
		settings.Setting{
			Name: "on-exit", Value: settings.Choice(&s.onExit, exitStop, exitLeave),
			Help: "when the agent ends, stop its nodes or leave them running for the next one: stop or leave; a Supervisor's always stay",
		},
		settings.Setting{
			Name: "supervisor", Value: settings.Parsed(&s.supervisor, parseSupervisor, func(a string) string { return a }), Common: true,
			Help: "with --launcher supervisor: where it listens, `HOST:PORT`",
		},
	)

	s.archive.add(s.t, module)

	s.t.Group("Topics")
	s.t.Add(
		topicSetting(&s.topics.management.AgentPrefix, "topic-prefix",
			"the `TOPIC` of the agent without its name; the controller must have the same", module+"::topic_prefix"),
		topicSetting(&s.topics.management.Node, "node-topic", "the `TOPIC` of the agent and its nodes", "Management::Node::node_topic"),
		topicSetting(&s.topics.management.Supervisor, "supervisor-topic-prefix",
			"the `TOPIC` of reports of a Supervisor, with --launcher supervisor", "Management::Supervisor::topic_prefix"),
		topicSetting(&s.topics.clusteragent.AgentPrefix, "cluster-agent-topic-prefix",
			"the `TOPIC` of the agent without its name in the older dialect", "ClusterAgent::topic_prefix"),
	)
	s.addOperation()
	return s
}

func (s *agentSettings) check() error {
	if s.native.at(s.defaultAddress) == "" {
		return s.t.Wrong("listen-port", "want a port, as nodes connect to it")
	}
	if err := s.nodes.check(s.t); err != nil {
		return err
	}
	return s.serviceSettings.check()
}

// controllerAtPort is the default controller at the port that the environment
// names, where Zeek's agent expects it.
func controllerAtPort(text string) (string, error) {
	port, err := settings.ParsePort(text)
	if err != nil || port == (broker.Port{}) {
		return settings.None, err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port.Number))), nil
}

// parseControllers takes the address 0.0.0.0 for none, as Zeek's agent does.
func parseControllers(text string) ([]string, error) {
	var list []string
	if text == settings.None {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		host, port, err := splitAddress(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		if host == "0.0.0.0" {
			continue
		}
		if host == "" || port == "0" {
			return nil, errors.New("want HOST:PORT or none")
		}
		list = append(list, net.JoinHostPort(host, port))
	}
	return list, nil
}

func parseSupervisor(text string) (string, error) {
	host, port, err := splitAddress(text)
	if err == nil && (host == "" || port == "0") {
		err = errors.New("want HOST:PORT")
	}
	return net.JoinHostPort(host, port), err
}

// ownDir is where the agent keeps its own state, "" for where it keeps all.
func (s *agentSettings) ownDir() string {
	if s.directory == "" {
		return ""
	}
	return s.own()
}
