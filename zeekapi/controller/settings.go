package controller

import (
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// Default values of Settings.
const (
	DefaultBrokerStartPort  = 2200
	DefaultMetricsStartPort = 9000
	DefaultRequestTimeout   = 15 * time.Second
)

// Settings are the options that Zeek's controller offers as redefinable
// constants (Zeek: Management::Controller). The zero value is valid.
type Settings struct {
	// Name and Version describe the controller in its status.
	Name, Version string

	// BrokerPort is the port on which the controller listens for agents. Nodes
	// must not use it. The zero Port reserves no port.
	BrokerPort broker.Port

	// AssignBrokerPorts assigns a Broker port to each manager, logger and proxy
	// without one, from BrokerStartPort upward. Zero means
	// DefaultBrokerStartPort.
	AssignBrokerPorts bool
	BrokerStartPort   uint16

	// AssignMetricsPorts assigns a metrics port to each node without one, from
	// MetricsStartPort upward. Zero means DefaultMetricsStartPort.
	AssignMetricsPorts bool
	MetricsStartPort   uint16

	// RequestTimeout is the longest time a client waits for a response. Zeek's
	// controller times out after 10 to 12 s, a stock zeek-client after 20 s. A
	// deployment may continue after its client was answered. Zero means
	// DefaultRequestTimeout; a negative duration is an error.
	RequestTimeout time.Duration

	// StatusInterval is the time between two requests of the controller to all
	// agents for the states of their nodes, which Snapshot counts. Zero
	// disables them: the snapshot then knows what agents report by themselves
	// and in responses to clients. A negative duration is an error.
	StatusInterval time.Duration
}

// DefaultSettings returns the settings of Zeek 8.0.
func DefaultSettings() Settings {
	return Settings{
		BrokerPort:         broker.TCP(2150),
		AssignBrokerPorts:  true,
		BrokerStartPort:    DefaultBrokerStartPort,
		AssignMetricsPorts: true,
		MetricsStartPort:   DefaultMetricsStartPort,
		RequestTimeout:     DefaultRequestTimeout,
	}
}

// complete returns s with the default values filled in.
func (s Settings) complete() (Settings, error) {
	switch {
	case s.RequestTimeout < 0:
		return s, fmt.Errorf("controller: RequestTimeout is %s, must not be negative", s.RequestTimeout)
	case s.StatusInterval < 0:
		return s, fmt.Errorf("controller: StatusInterval is %s, must not be negative", s.StatusInterval)
	}
	if s.BrokerStartPort == 0 {
		s.BrokerStartPort = DefaultBrokerStartPort
	}
	if s.MetricsStartPort == 0 {
		s.MetricsStartPort = DefaultMetricsStartPort
	}
	if s.RequestTimeout == 0 {
		s.RequestTimeout = DefaultRequestTimeout
	}
	return s, nil
}
