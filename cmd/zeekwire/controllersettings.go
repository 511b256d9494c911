package main

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// controllerSettings holds all settings of a controller.
type controllerSettings struct {
	serviceSettings
	websocket listenSettings
	http      listenSettings
	gate      gateSettings
	authority string         // directory of the cluster's authority, "" for none
	join      listenSettings // for join files and the renewal of certificates
	machine   controller.Settings
	sites     siteSettings
	alerts    alertSettings
	store     storeSettings

	brokerStart, metricsStart broker.Port
}

// joinPort is the default port for machines that join.
const joinPort = "2148"

func newControllerSettings() *controllerSettings {
	const module, variable = "Management::Controller", "ZEEK_CONTROLLER"
	s := &controllerSettings{
		serviceSettings: newServiceSettings("controller", module, variable),
		websocket: listenSettings{
			addressName: "listen-address-websocket", portName: "listen-port-websocket", defaultName: "default-port-websocket",
			module: module, addressVar: variable + "_WEBSOCKET_ADDR", portVar: variable + "_WEBSOCKET_PORT",
			defaultPort: broker.TCP(2149),
		},
		join:    listenSettings{addressName: "join-address", portName: "join-port", defaultName: "default-port-join", defaultPort: broker.TCP(2148)},
		http:    listenSettings{addressName: "http-address", portName: "http-port"},
		machine: controller.DefaultSettings(),
		sites:   defaultSites(),
		alerts:  defaultAlerts(),
		store:   defaultStore(),
	}
	s.native.defaultPort = s.machine.BrokerPort
	s.requestTimeout = s.machine.RequestTimeout
	s.brokerStart = broker.TCP(s.machine.BrokerStartPort)
	s.metricsStart = broker.TCP(s.machine.MetricsStartPort)

	s.addIdentity(module, variable)
	var unused string
	s.t.Add(settings.Setting{
		Name: "spool-dir", Value: settings.Text(&unused),
		Help: "`DIR` for rotated logs of Zeek's controller; accepted without effect",
		Zeek: "Management::spool_dir", Env: spoolDirVariables,
	})
	s.t.Group("Addresses")
	s.native.add(s.t, "listen", "`HOST:PORT` to listen at for agents, or none")
	s.websocket.add(s.t, "websocket-listen", "`HOST:PORT` to listen at for clients, or none")
	s.http.add(s.t, "http-listen", "`HOST:PORT` to listen at for HTTP: the API, the console, metrics and health; or none")
	s.addDefaultAddress()
	s.addConnecting()
	s.addTLS()
	s.gate.add(s.t)
	s.t.Group("Certificates")
	s.t.Add(settings.Setting{
		Name: "authority", Value: settings.Text(&s.authority),
		Help: "`DIR` of the authority that \"zeekwire bootstrap\" made; machines can then join, and certificates are renewed",
	})
	s.join.add(s.t, "join-listen", "`HOST:PORT` to listen at for machines that join or renew certificates, or none; only with --authority")

	s.store.add(s.t)
	s.sites.add(s.t)
	s.t.Group("Deployments")
	s.addRequestTimeout()
	s.t.Add(
		settings.Setting{
			Name: "start-limit", Value: settings.Duration(&s.machine.StartLimit, time.Millisecond),
			Help: "`TIME` that the nodes of a deployment may take to start; those that take longer have failed",
		},
		settings.Setting{
			Name: "auto-assign-broker-ports", Value: settings.Bool(&s.machine.AssignBrokerPorts),
			Help: "assign a listening port to nodes that have none", Zeek: module + "::auto_assign_broker_ports",
		},
		settings.Setting{
			Name: "auto-assign-broker-start-port", Value: settings.Port(&s.brokerStart),
			Help: "first `PORT` to assign, on every host", Zeek: module + "::auto_assign_broker_start_port",
		},
		settings.Setting{
			Name: "auto-assign-metrics-ports", Value: settings.Bool(&s.machine.AssignMetricsPorts),
			Help: "assign a metrics port to nodes that have none", Zeek: module + "::auto_assign_metrics_ports",
		},
		settings.Setting{
			Name: "auto-assign-metrics-start-port", Value: settings.Port(&s.metricsStart),
			Help: "first `PORT` to assign, on every host", Zeek: module + "::auto_assign_metrics_start_port",
		},
	)

	s.alerts.add(s.t)

	s.t.Group("Topics")
	s.t.Add(
		topicSetting(&s.topics.management.Controller, "topic", "`TOPIC` of clients and the controller", module+"::topic"),
		topicSetting(&s.topics.management.AgentPrefix, "agent-topic-prefix",
			"`TOPIC` of an agent without its name; must be the same in all agents", "Management::Agent::topic_prefix"),
		topicSetting(&s.topics.clusteragent.Controller, "cluster-controller-topic",
			"`TOPIC` of clients and the controller, in the older dialect", "ClusterController::topic"),
		topicSetting(&s.topics.clusteragent.AgentPrefix, "cluster-agent-topic-prefix",
			"`TOPIC` of an agent without its name, in the older dialect", "ClusterAgent::topic_prefix"),
	)
	s.addOperation()
	return s
}

func (s *controllerSettings) check() error {
	s.machine.RequestTimeout = s.requestTimeout
	const wantPort = "want a port from 1 to 65535"
	switch {
	case s.machine.StartLimit <= 0:
		return s.t.Wrong("start-limit", "want a time above zero")
	case s.brokerStart.Number == 0:
		return s.t.Wrong("auto-assign-broker-start-port", wantPort)
	case s.metricsStart.Number == 0:
		return s.t.Wrong("auto-assign-metrics-start-port", wantPort)
	}
	if err := s.alerts.check(s.t); err != nil {
		return err
	}
	if s.authority != "" && !s.tls.Mutual() {
		return s.t.Wrong("authority", "want --tls mutual, with a certificate of the authority")
	}
	if err := s.store.check(s.t); err != nil {
		return err
	}
	s.machine.BrokerStartPort, s.machine.MetricsStartPort = s.brokerStart.Number, s.metricsStart.Number
	return s.serviceSettings.check()
}

// joinAddress returns the address to listen at for machines that join, "" for none.
func (s *controllerSettings) joinAddress() string {
	if s.authority == "" {
		return ""
	}
	return s.join.at(s.defaultAddress)
}

// sitesDir returns the directory for the sites of configurations.
func (s *controllerSettings) sitesDir() string { return filepath.Join(s.own(), "sites") }

// certificateFiles returns the files with the certificates of the controller.
func (s *controllerSettings) certificateFiles() []string {
	return slices.DeleteFunc([]string{s.tls.Certificate(), s.tls.Authority(), s.gate.web.CertFile, s.gate.web.CAFile}, func(file string) bool { return file == "" })
}

// stateFile returns the path of the controller's state file.
func (s *controllerSettings) stateFile() string { return filepath.Join(s.own(), "controller.db") }
