package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
	control "github.com/zeekwire/zeekwire/zeekapi/supervisor"
)

// agentSettings holds all settings of an agent.
type agentSettings struct {
	serviceSettings
	controllers []string // addresses to connect to
	callers     callers
	renewFrom   string // address of the controller that renews the certificate, "" for none
	launcher    string
	zeek        string
	onExit      string
	supervisor  string
	backend     string
	scenario    string
	transport   string

	measureInterval time.Duration

	checkTimeout time.Duration
	archive      archiveSettings
	disks        diskwatch.Settings
	hungAfter    time.Duration
	restartHung  bool
	nodes        nodeSettings
	sites        siteSettings
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
		disks:           diskwatch.Settings{Warn: diskwatch.Threshold{Percent: 5}},
		sites:           defaultSites(),
		backend:         backendAuto,
		transport:       transportAuto,
		checkTimeout:    zeek.DefaultCheckTimeout,
		measureInterval: defaultMeasureInterval,
		hungAfter:       2 * time.Minute,
	}
	s.native.defaultPort = broker.TCP(2151)
	s.requestTimeout = agent.RequestTimeout

	s.addIdentity(module, variable)
	s.t.Group("Addresses")
	s.t.Add(settings.Setting{
		Name: "controller", Common: true,
		Help: "`HOST:PORT` of the controller; several are separated by commas; none: wait for the controller to connect",
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
		Help: "`LIST` of addresses, networks and certificate names of further controllers that may connect; all: any. " +
			"Empty: none, or any if the agent itself connects to no controller",
		Value: settings.Parsed(&s.callers, parseCallers, callers.String), Reload: true,
	})
	s.native.add(s.t, "listen", "`HOST:PORT` to listen at for nodes and controllers")
	s.addDefaultAddress()
	s.addConnecting()
	s.addTLS()
	s.t.Add(settings.Setting{
		Name: "renew-from", Value: settings.Parsed(&s.renewFrom, parseRenewFrom, func(a string) string { return a }),
		Help: "`HOST:PORT` of the controller's join-listen, which renews the certificate of --tls-cert; empty: it is renewed by other means",
	})

	s.t.Group("Nodes")
	s.addRequestTimeout()
	s.nodes.add(s.t)
	s.t.Add(
		settings.Setting{
			Name: "check-timeout", Value: settings.Duration(&s.checkTimeout, time.Second),
			Help: "`TIME` for Zeek to load the scripts of all nodes in the check before a deployment, for --launcher zeek; nodes whose scripts take longer do not pass",
		},
		settings.Setting{
			Name: "measure-interval", Value: settings.Duration(&s.measureInterval, 0),
			Help: "`TIME` between measurements of the packets and connections of nodes, for status and metrics; 0: only for commands that show them",
		},
		settings.Setting{
			Name: "hung-after", Value: settings.Duration(&s.hungAfter, 0),
			Help: "`TIME` after which a node that does not answer, or processes no packets although its interface receives some, is reported as a problem; 0: never",
		},
		settings.Setting{
			Name: "restart-hung", Value: settings.Bool(&s.restartHung),
			Help: "restart nodes that have been reported because of hung-after",
		},
		settings.Setting{
			Name: "launcher", Value: settings.Choice(&s.launcher, launcherZeek, launcherSupervisor, launcherSimulated), Common: true,
			Help: "`KIND` of launcher for nodes: zeek (processes), supervisor (a running \"zeek -j\") or simulated",
		},
		settings.Setting{
			Name: "zeek", Value: settings.Text(&s.zeek), Common: true,
			Help: "`PATH` of the zeek program, or its name in $PATH",
		},
		settings.Setting{
			Name: "scenario", Value: settings.Text(&s.scenario), Common: true,
			Help: "`FILE` with the behaviour of nodes, for --launcher simulated; empty: nodes work without errors",
		},
		settings.Setting{
			Name: "cluster-backend", Value: settings.Choice(&s.backend, backendAuto, string(zeek.Broker), string(zeek.ZeroMQ)),
			Help: "`KIND` of cluster backend, for --launcher zeek and Zeek 8.1 or later, unless scripts load another one: broker, zeromq, or auto (Broker if Zeek has it). Must be the same on all agents",
			Zeek: "Cluster::backend",
		},
		settings.Setting{
			Name: "node-transport", Value: settings.Choice(&s.transport, transportAuto, transportBroker, transportWebSocket),
			Help: "`KIND` of connection between agent and nodes, for --launcher zeek: broker (nodes connect to the agent), websocket (the agent connects to nodes, without TLS, on loopback), or auto (Broker if Zeek has it)",
		},
		settings.Setting{
			Name: "on-exit", Value: settings.Choice(&s.onExit, exitStop, exitLeave),
			Help: "`ACTION` on nodes when the agent ends: stop, or leave them running for the next agent; nodes of a Supervisor are always left running",
		},
		settings.Setting{
			Name: "supervisor", Value: settings.Parsed(&s.supervisor, parseSupervisor, func(a string) string { return a }), Common: true,
			Help: "`HOST:PORT` of the Supervisor, for --launcher supervisor",
		},
	)

	s.archive.add(s.t, module)
	addDisks(s.t, &s.disks)
	s.sites.add(s.t)

	s.t.Group("Topics")
	s.t.Add(
		topicSetting(&s.topics.management.AgentPrefix, "topic-prefix",
			"`TOPIC` of the agent without its name; must be the same in the controller", module+"::topic_prefix"),
		topicSetting(&s.topics.management.Node, "node-topic", "`TOPIC` of the agent and its nodes", "Management::Node::node_topic"),
		topicSetting(&s.topics.management.Supervisor, "supervisor-topic-prefix",
			"`TOPIC` of a Supervisor's reports, for --launcher supervisor", "Management::Supervisor::topic_prefix"),
		topicSetting(&s.topics.clusteragent.AgentPrefix, "cluster-agent-topic-prefix",
			"`TOPIC` of the agent without its name, in the older dialect", "ClusterAgent::topic_prefix"),
	)
	s.addOperation()
	return s
}

func (s *agentSettings) check() error {
	if s.native.at(s.defaultAddress) == "" {
		return s.t.Wrong("listen-port", "want a port: nodes connect to the agent")
	}
	if err := s.nodes.check(s.t); err != nil {
		return err
	}
	if err := s.archive.check(s.t); err != nil {
		return err
	}
	if len(s.nodes.args) > 0 && s.launcher == launcherSupervisor {
		return s.t.Wrong("node-args", "want --launcher zeek: nodes of a Supervisor have its arguments")
	}
	if s.renewFrom != "" && !s.tls.Mutual() {
		return s.t.Wrong("renew-from", "want --tls mutual: without it, there is no certificate")
	}
	if s.renewFrom != "" && s.tls.Certificate() != s.tls.Key() {
		return s.t.Wrong("renew-from", "want one file for --tls-cert and --tls-key, so that both are replaced at the same time")
	}
	if err := s.serviceSettings.check(); err != nil {
		return err
	}
	if err := zeekapi.CheckName(s.name); err != nil {
		return s.t.Wrong("name", "%v", err)
	}
	return nil
}

// controllerAtPort returns the address of a local controller at the port named
// by the environment, as in Zeek's agent.
func controllerAtPort(text string) (string, error) {
	port, err := settings.ParsePort(text)
	if err != nil || port == (broker.Port{}) {
		return settings.None, err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port.Number))), nil
}

// parseControllers parses a list of addresses. The address 0.0.0.0 means none,
// as in Zeek's agent.
func parseControllers(text string) ([]string, error) {
	var list []string
	if text == settings.None {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		host, port, err := address.SplitBoth(strings.TrimSpace(item), "2150")
		if err != nil {
			return nil, fmt.Errorf("%w, or none", err)
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

// parseRenewFrom parses the address of the controller that renews certificates.
func parseRenewFrom(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	host, port, err := address.SplitBoth(text, joinPort)
	if err == nil && (host == "" || port == "0") {
		err = errors.New("want HOST:PORT")
	}
	return net.JoinHostPort(host, port), err
}

func parseSupervisor(text string) (string, error) {
	host, port, err := address.SplitBoth(text, strconv.Itoa(control.Port))
	if err == nil && (host == "" || port == "0") {
		err = errors.New("want HOST:PORT")
	}
	return net.JoinHostPort(host, port), err
}

// agentDir returns the directory of the agent's own state. By default, that was the state
// directory itself in early versions. An agent continues with such a state where it is:
// running nodes may have a site there.
func (s *agentSettings) agentDir() string {
	if s.directory == "" && agent.HasState(s.stateDir, s.name) {
		return s.stateDir
	}
	return s.own()
}
