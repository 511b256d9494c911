package controller

import (
	"cmp"
	"fmt"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// Default values of Settings.
const (
	DefaultBrokerStartPort  = 2200
	DefaultMetricsStartPort = 9000
	DefaultRequestTimeout   = 15 * time.Second
	DefaultStartLimit       = 5 * time.Minute
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

	// StartLimit is how long the nodes of a deployment may take to start. A node
	// that is still starting then has failed. It applies to our agents; Zeek's
	// have a limit of their own. Zero means DefaultStartLimit; a negative duration
	// is an error.
	StartLimit time.Duration

	// StatusInterval is the time between two requests of the controller to each
	// agent for the states of its nodes, which Snapshot counts. Zero
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
		StartLimit:         DefaultStartLimit,
	}
}

// complete returns s with the default values filled in.
func (s Settings) complete() (Settings, error) {
	switch {
	case s.RequestTimeout < 0:
		return s, fmt.Errorf("controller: RequestTimeout is %s, must not be negative", s.RequestTimeout)
	case s.StartLimit < 0:
		return s, fmt.Errorf("controller: StartLimit is %s, must not be negative", s.StartLimit)
	case s.StatusInterval < 0:
		return s, fmt.Errorf("controller: StatusInterval is %s, must not be negative", s.StatusInterval)
	}
	s.BrokerStartPort = cmp.Or(s.BrokerStartPort, DefaultBrokerStartPort)
	s.MetricsStartPort = cmp.Or(s.MetricsStartPort, DefaultMetricsStartPort)
	s.RequestTimeout = cmp.Or(s.RequestTimeout, DefaultRequestTimeout)
	s.StartLimit = cmp.Or(s.StartLimit, DefaultStartLimit)
	return s, nil
}
