package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/admission"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/tlsflags"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// declared is implemented by the settings of a service.
type declared interface {
	table() *settings.Table

	// shared returns the settings that all services have.
	shared() *serviceSettings

	// check returns an error if settings are invalid or contradict each other.
	check() error
}

// serviceNames are the names of the services in environment variables.
var serviceNames = []string{"controller", "agent", "gateway"}

// runService makes cmd the command of a service. The function fresh returns the
// default settings; run runs the service with the settings that were loaded.
func runService[S declared](cmd *cobra.Command, fresh func() S, run func(cmd *cobra.Command, s S, o *operation) error) {
	var flags settings.Flags
	flags.Register(cmd.Flags(), fresh().table())
	printExposure := cmd.Flags().Bool("print-exposure", false, "print who can reach the "+cmd.Name()+" and what they may do, and exit")
	variable := "ZEEKWIRE_" + strings.ToUpper(cmd.Name()) + "_LISTEN_PORT"
	cmd.Long += fmt.Sprintf(`

The flags below are the most common settings; --print-config shows all settings
with their origins. Each setting is a flag, a line in the file of --config, and
an environment variable: --listen-port, listen-port = 2150/tcp, and
%s. Flags override variables,
and variables override the file.

SIGHUP reloads the log level, allowed hosts and peers, certificates and the
file of clients. SIGTERM ends the service after pending requests, a second
SIGTERM ends it immediately.`, variable)
	load := func() (S, error) {
		s := fresh()
		if err := s.table().Load(flags.File, os.Getenv, &flags); err != nil {
			return s, err
		}
		return s, s.check()
	}
	cmd.Args = usage.Arguments(cmd.Use)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := load()
		if err != nil {
			return usageError(err)
		}
		strays := s.table().Strays(os.Environ(), serviceNames...)
		if flags.Print {
			for _, stray := range strays {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %v\n", stray)
			}
			return s.table().Print(cmd.OutOrStdout())
		}
		o, err := newOperation(cmd, s.shared(), func() (declared, error) { return load() })
		if err != nil {
			return err
		}
		o.checkOnly, o.printOnly = flags.Check, *printExposure
		if !o.checkOnly && !o.printOnly {
			nameProcess(s.shared().name)
		}
		for _, stray := range strays {
			o.log.Warn().Msg("environment: " + stray.Error())
		}
		return o.logged(s.shared(), run(cmd, s, o))
	}
}

// nameProcess gives this process the name that Zeek's agent or controller of this name
// has, which monitoring may look for. Only Linux has the file.
func nameProcess(service string) {
	_ = os.WriteFile("/proc/self/comm", []byte(launch.ProcessName(service)), 0)
}

// defaultStateDir is the default of state-dir. Zeek's default is below its
// installation directory.
const defaultStateDir = "/var/lib/zeekwire"

// serviceSettings are the settings that a controller and an agent share.
type serviceSettings struct {
	kind string // "controller" or "agent"

	name           string
	stateDir       string
	directory      string
	defaultAddress string
	native         listenSettings
	connectRetry   time.Duration
	incoming       int // MiB
	requestTimeout time.Duration
	metrics        listenSettings
	allowedHosts   []string // names by which web pages may reach listeners, at the start; see hosts
	reloadedHosts  atomic.Pointer[[]string]
	patience       time.Duration
	topics         topics
	tls            tlsflags.Options
	logs           logSettings

	t *settings.Table
}

func (s *serviceSettings) table() *settings.Table   { return s.t }
func (s *serviceSettings) shared() *serviceSettings { return s }

// newServiceSettings returns the default settings of a kind of service. Module
// is the service's module in Zeek's scripts, and variable the prefix of its
// environment variables in Zeek.
func newServiceSettings(kind, module, variable string) serviceSettings {
	return serviceSettings{
		kind: kind, t: settings.NewTable(kind),
		stateDir: defaultStateDir, defaultAddress: "0.0.0.0",
		native: listenSettings{
			addressName: "listen-address", portName: "listen-port", defaultName: "default-port",
			module: module, addressVar: variable + "_ADDR", portVar: variable + "_PORT",
		},
		metrics: listenSettings{
			addressName: "metrics-address", portName: "metrics-port",
			module: "Telemetry", addressVar: "ZEEK_DEFAULT_LISTEN_ADDRESS",
		},
		patience:     defaultPatience,
		connectRetry: time.Second,
		incoming:     peering.DefaultMaxIncomplete / mebibyte,
		topics:       defaultTopics,
		tls:          tlsflags.New(),
		logs:         logSettings{level: "info", format: "console"},
	}
}

// addIdentity adds the settings for the name and directories.
func (s *serviceSettings) addIdentity(module, variable string) {
	s.t.Group("Name and directories")
	s.t.Add(
		settings.Setting{
			Name: "name", Value: settings.Text(&s.name), Common: true,
			Help: fmt.Sprintf("`NAME` of the %s; empty: %s-HOSTNAME", s.kind, s.kind),
			Zeek: module + "::name", Env: []settings.Variable{{Name: variable + "_NAME"}},
		},
		settings.Setting{
			Name: "state-dir", Value: settings.Text(&s.stateDir), Common: true,
			Help: "`DIR` for state",
			Zeek: "Management::state_dir",
			Env: []settings.Variable{
				{Name: "ZEEK_MANAGEMENT_TESTING", Convert: here}, {Name: "ZEEK_MANAGEMENT_STATE_DIR"},
			},
		},
		settings.Setting{
			Name: "directory", Value: settings.Text(&s.directory),
			Help: fmt.Sprintf("`DIR` for the %s's own state, relative to \"nodes\" in the state directory; empty: its name", s.kind),
			Zeek: module + "::directory",
		},
	)
}

// here returns the directory that Zeek uses if ZEEK_MANAGEMENT_TESTING is set,
// the current one.
func here(string) (string, error) { return ".", nil }

func (s *serviceSettings) addDefaultAddress() {
	s.t.Add(settings.Setting{
		Name: "default-address", Value: settings.Text(&s.defaultAddress),
		Help: "`ADDRESS` of listeners that have none of their own", Zeek: "Management::default_address",
	})
}

func (s *serviceSettings) addConnecting() {
	s.t.Add(settings.Setting{
		Name: "connect-retry", Value: settings.Duration(&s.connectRetry, time.Millisecond),
		Help: "`TIME` between the first two attempts to connect; it doubles with every attempt, up to ten times as long",
		Zeek: "Management::connect_retry",
		Env:  []settings.Variable{{Name: "ZEEK_DEFAULT_CONNECT_RETRY", Convert: settings.Seconds}},
	}, settings.Setting{
		Name: "incoming-memory", Value: settings.Count(&s.incoming, leastIncoming, maxSiteSpace),
		Help: "`MIB` of memory for messages that arrive at a port; if they need more, the slowest or largest ends its connection",
	})
}

// leastIncoming is the least value of --incoming-memory.
const leastIncoming = 16

// incomingBytes returns the limit for incoming messages in bytes.
func (s *serviceSettings) incomingBytes() int { return s.incoming * mebibyte }

func (s *serviceSettings) addRequestTimeout() {
	s.t.Add(settings.Setting{
		Name: "request-timeout-interval", Value: settings.Duration(&s.requestTimeout, time.Millisecond),
		Help: "`TIME` after which a request is answered with the responses received so far",
		Zeek: "Management::Request::timeout_interval",
	})
}

// defaultPatience is the default of --shutdown-timeout. It is longer than a
// deployment usually takes.
const defaultPatience = 20 * time.Second

func (s *serviceSettings) addOperation() {
	s.t.Group("Operation")
	s.metrics.add(s.t, "metrics-listen", "`HOST:PORT` to listen at for HTTP requests (/metrics, /healthz, /readyz), or none")
	s.t.Add(settings.Setting{
		Name: "allowed-hosts", Value: settings.Parsed(&s.allowedHosts, parseHosts, joinPatterns),
		Help: "`LIST` of further names, or patterns such as *.example.com, by which web pages may reach the service", Reload: true,
	}, settings.Setting{
		Name: "shutdown-timeout", Value: settings.Duration(&s.patience, 0),
		Help: "`TIME` for pending requests to finish when the service ends",
	})
	s.logs.add(s.t)
}

// hosts returns the names by which web pages may reach listeners, as of the last reload.
// It may be called concurrently.
func (s *serviceSettings) hosts() []string {
	if fresh := s.reloadedHosts.Load(); fresh != nil {
		return *fresh
	}
	return s.allowedHosts
}

// parseHosts parses a list of host names and patterns.
func parseHosts(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var names []string
	for item := range strings.SplitSeq(text, ",") {
		names = append(names, strings.TrimSpace(item))
	}
	return names, admission.CheckNames(names)
}

// own returns the directory of the service's own state.
func (s *serviceSettings) own() string {
	dir := cmp.Or(s.directory, s.name)
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(s.stateDir, "nodes", dir)
}

// check implements declared. It also sets the default name.
func (s *serviceSettings) check() error {
	if s.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("no name is set, and the host name is unknown: %w", err)
		}
		s.name = s.kind + "-" + host
	}
	if s.name == "." || s.name == ".." || strings.ContainsFunc(s.name, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) }) {
		return s.t.Wrong("name", "want a name that is also a valid file name")
	}
	return nil
}

// listenSettings are the settings of one listener, as in Zeek
// (Management::Controller::network_info).
type listenSettings struct {
	addressName, portName string
	defaultName           string // "" if there is no default port
	module                string // Zeek's module, "" if Zeek has no such listener
	addressVar, portVar   string // Zeek's environment variables, "" for none

	address     string
	port        *broker.Port
	defaultPort broker.Port
}

func (l *listenSettings) add(t *settings.Table, shorthand, help string) {
	zeek := func(name string) string {
		if l.module == "" {
			return ""
		}
		return l.module + "::" + strings.ReplaceAll(name, "-", "_")
	}
	byDefault := settings.None
	if l.defaultPort.Number != 0 {
		byDefault = fmt.Sprintf("0.0.0.0:%d", l.defaultPort.Number)
	}
	t.AddShorthand(settings.Shorthand{
		Name: shorthand, Help: help, Default: byDefault,
		Expand: func(text string) ([]settings.Assignment, error) {
			if text == settings.None {
				return []settings.Assignment{{Name: l.portName, Text: settings.None}}, nil
			}
			host, port, err := address.SplitBoth(text, cmp.Or(examplePort(l.defaultPort), "9991"))
			if err != nil {
				err = fmt.Errorf("%w, or none", err)
			}
			return []settings.Assignment{{Name: l.addressName, Text: host}, {Name: l.portName, Text: port}}, err
		},
	})
	t.Add(
		settings.Setting{
			Name: l.addressName, Value: settings.Text(&l.address),
			Help: "`ADDRESS` of --" + shorthand + "; empty: default-address",
			Zeek: zeek(l.addressName), Env: variables(l.addressVar),
		},
		settings.Setting{
			Name: l.portName, Value: settings.OptionalPort(&l.port),
			Help: "`PORT` of --" + shorthand + ", or none to turn the listener off; empty: " + cmp.Or(l.defaultName, settings.None),
			Zeek: zeek(l.portName), Env: variables(l.portVar),
		},
	)
	if l.defaultName != "" {
		t.Add(settings.Setting{
			Name: l.defaultName, Value: settings.Port(&l.defaultPort),
			Help: "`PORT` if " + l.portName + " is empty", Zeek: zeek(l.defaultName),
		})
	}
}

func variables(name string) []settings.Variable {
	if name == "" {
		return nil
	}
	return []settings.Variable{{Name: name}}
}

// number returns the port to listen at, the zero one if the listener is turned off.
func (l *listenSettings) number() broker.Port {
	if l.port != nil {
		return *l.port
	}
	return l.defaultPort
}

// at returns the address to listen at, "" if the listener is turned off.
func (l *listenSettings) at(defaultAddress string) string {
	port := l.number()
	if port == (broker.Port{}) {
		return ""
	}
	return net.JoinHostPort(cmp.Or(l.address, defaultAddress, "0.0.0.0"), strconv.Itoa(int(port.Number)))
}

// set sets the address and port. Port 0 selects any free port.
func (l *listenSettings) set(host string, port uint16) {
	p := broker.TCP(port)
	l.address, l.port = host, &p
}

// examplePort returns the number of a port for an error, "" for no port.
func examplePort(p broker.Port) string {
	if p.Number == 0 {
		return ""
	}
	return strconv.Itoa(int(p.Number))
}

// topics are the configurable topics: those of Zeek's two dialects.
type topics struct{ management, clusteragent zeekapi.Topics }

var defaultTopics = topics{management.DefaultTopics, clusteragent.DefaultTopics}

// dialects returns all dialects that services support, which they use at the
// same time.
func (t topics) dialects() []*zeekapi.Dialect {
	return []*zeekapi.Dialect{
		management.Dialect(t.management),
		clusteragent.Dialect(t.clusteragent),
		operations.Dialect(operations.DefaultTopics),
	}
}

func (s *serviceSettings) addTLS() {
	s.t.Group("TLS between controller, agents and nodes")
	s.t.Add(s.tls.Settings()...)
}

// topicSetting returns the setting of a topic. Zeek is the name of the
// corresponding constant in Zeek.
func topicSetting(p *string, name, help, zeek string) settings.Setting {
	return settings.Setting{
		Name: name, Help: help, Zeek: zeek,
		Value: settings.Parsed(p, func(s string) (string, error) {
			if s == "" || len(s) > broker.MaxTopicLen || strings.HasPrefix(s, broker.ControlTopic) {
				return "", errors.New("want a topic that is not empty, not too long and not reserved by Broker")
			}
			return s, nil
		}, func(s string) string { return s }),
	}
}
