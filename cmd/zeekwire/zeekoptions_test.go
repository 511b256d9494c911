package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// zeekOption is a constant in Zeek's scripts that users can redefine.
type zeekOption struct {
	name    string // such as Management::Agent::default_port
	initial string // default in Zeek's script, such as 2151/tcp

	// Controller and agent name the corresponding settings. If there is none, or
	// if its default differs from Zeek's, reason explains that.
	controller, agent string
	own               string // default of the setting if it differs from Zeek's
	reason            string
}

// zeekOptions lists all redefinable constants of the Management framework in
// Zeek 8.0.10 and in Zeek 5.0. Later releases than 8.0.10 have the same
// constants.
var zeekOptions = []zeekOption{
	{name: "Management::role", initial: "Management::NONE", reason: "the role of a process follows from the command"},
	{name: "Management::default_address", initial: `"0.0.0.0"`, controller: "default-address", agent: "default-address"},
	{name: "Management::connect_retry", initial: "1sec", controller: "connect-retry", agent: "connect-retry"},
	{name: "Management::spool_dir", initial: `getenv("ZEEK_MANAGEMENT_SPOOL_DIR")`, controller: "spool-dir", agent: "spool-dir"},
	{name: "Management::state_dir", initial: `getenv("ZEEK_MANAGEMENT_STATE_DIR")`, controller: "state-dir", agent: "state-dir",
		own: defaultStateDir, reason: "Zeek's default is relative to its installation"},

	{name: "Management::Log::level", initial: "INFO", controller: "log-level", agent: "log-level"},
	{name: "Management::Request::timeout_interval", initial: "10sec", controller: "request-timeout-interval",
		own: "15s", reason: "agents that wait for nodes respond after up to 9 s, and clients wait 20 s"},
	{name: "Management::Request::timeout_interval", initial: "5 sec", agent: "request-timeout-interval",
		own: "9s", reason: "nodes on a busy machine take longer to start"},

	{name: "Management::Controller::name", initial: `getenv("ZEEK_CONTROLLER_NAME")`, controller: "name"},
	{name: "Management::Controller::stdout_file", initial: `"stdout"`, reason: "only a Supervisor writes this file; the output of the service is that of its process"},
	{name: "Management::Controller::stderr_file", initial: `"stderr"`, reason: "as for stdout_file"},
	{name: "Management::Controller::listen_address", initial: `getenv("ZEEK_CONTROLLER_ADDR")`, controller: "listen-address"},
	{name: "Management::Controller::listen_port", initial: `getenv("ZEEK_CONTROLLER_PORT")`, controller: "listen-port"},
	{name: "Management::Controller::default_port", initial: "2150/tcp", controller: "default-port"},
	{name: "Management::Controller::listen_address_websocket", initial: `getenv("ZEEK_CONTROLLER_WEBSOCKET_ADDR")`, controller: "listen-address-websocket"},
	{name: "Management::Controller::listen_port_websocket", initial: `getenv("ZEEK_CONTROLLER_WEBSOCKET_PORT")`, controller: "listen-port-websocket"},
	{name: "Management::Controller::default_port_websocket", initial: "2149/tcp", controller: "default-port-websocket"},
	{name: "Management::Controller::tls_options_websocket", initial: "Cluster::WebSocketTLSOptions()", reason: "a setting for each of its fields"},
	{name: "Management::Controller::tls_options_websocket$cert_file", controller: "tls-options-websocket-cert-file"},
	{name: "Management::Controller::tls_options_websocket$key_file", controller: "tls-options-websocket-key-file"},
	{name: "Management::Controller::tls_options_websocket$enable_peer_verification", initial: "F", controller: "tls-options-websocket-enable-peer-verification"},
	{name: "Management::Controller::tls_options_websocket$ca_file", initial: `""`, controller: "tls-options-websocket-ca-file"},
	{name: "Management::Controller::tls_options_websocket$ciphers", initial: `""`, controller: "tls-options-websocket-ciphers"},
	{name: "Management::Controller::auto_assign_broker_ports", initial: "T", controller: "auto-assign-broker-ports"},
	{name: "Management::Controller::auto_assign_broker_start_port", initial: "2200/tcp", controller: "auto-assign-broker-start-port"},
	{name: "Management::Controller::auto_assign_ports", initial: "T", reason: "Zeek 5.0's name of auto_assign_broker_ports"},
	{name: "Management::Controller::auto_assign_start_port", initial: "2200/tcp", reason: "Zeek 5.0's name of auto_assign_broker_start_port"},
	{name: "Management::Controller::auto_assign_metrics_ports", initial: "T", controller: "auto-assign-metrics-ports"},
	{name: "Management::Controller::auto_assign_metrics_start_port", initial: "9000/tcp", controller: "auto-assign-metrics-start-port"},
	{name: "Management::Controller::topic", initial: `"zeek/management/controller"`, controller: "topic"},
	{name: "Management::Controller::directory", initial: `""`, controller: "directory"},

	{name: "Management::Agent::name", initial: `getenv("ZEEK_AGENT_NAME")`, agent: "name"},
	{name: "Management::Agent::stdout_file", initial: `"stdout"`, reason: "as for the controller"},
	{name: "Management::Agent::stderr_file", initial: `"stderr"`, reason: "as for the controller"},
	{name: "Management::Agent::listen_address", initial: `getenv("ZEEK_AGENT_ADDR")`, agent: "listen-address"},
	{name: "Management::Agent::listen_port", initial: `getenv("ZEEK_AGENT_PORT")`, agent: "listen-port"},
	{name: "Management::Agent::default_port", initial: "2151/tcp", agent: "default-port"},
	{name: "Management::Agent::archive_logs", initial: "T", agent: "archive-logs"},
	{name: "Management::Agent::archive_interval", initial: "0 sec", agent: "archive-interval"},
	{name: "Management::Agent::archive_cmd", initial: `""`, agent: "archive-cmd"},
	{name: "Management::Agent::archive_dir", initial: "Installation::log_dir", agent: "archive-dir",
		own: "", reason: "Zeek's default is relative to its installation"},
	{name: "Management::Agent::topic_prefix", initial: `"zeek/management/agent"`, controller: "agent-topic-prefix", agent: "topic-prefix"},
	{name: "Management::Agent::controller", agent: "controller", own: "127.0.0.1:2150", reason: "the setting is written as an address",
		initial: `Broker::NetworkInfo($address="127.0.0.1", $bound_port=Management::Controller::network_info()$bound_port)`},
	{name: "Management::Agent::directory", initial: `""`, agent: "directory"},

	{name: "Management::Node::node_topic", initial: `"zeek/management/node"`, agent: "node-topic"},
	{name: "Management::Node::stdout_file", initial: `"stdout"`, agent: "node-stdout-file"},
	{name: "Management::Node::stderr_file", initial: `"stderr"`, agent: "node-stderr-file"},

	{name: "Management::Supervisor::topic_prefix", initial: `"zeek/management/supervisor"`, agent: "supervisor-topic-prefix"},
	{name: "Management::Supervisor::print_stdout", initial: "F", reason: "nodes write to files; \"zeekwire logs\" shows them"},
	{name: "Management::Supervisor::print_stderr", initial: "F", reason: "as for print_stdout"},
	{name: "Management::Supervisor::output_max_lines", initial: "100", agent: "output-max-lines"},

	{name: "Telemetry::metrics_address", initial: `getenv("ZEEK_DEFAULT_LISTEN_ADDRESS")`, controller: "metrics-address", agent: "metrics-address"},
	{name: "Telemetry::metrics_port", initial: "0/unknown", controller: "metrics-port", agent: "metrics-port",
		own: "", reason: "an empty setting means none"},
}

var environmentOf = regexp.MustCompile(`^getenv\("(\w+)"\)$`)

// byDefault returns the expected default of a setting, and the environment
// variable that it must use.
func (o zeekOption) byDefault(t *testing.T) (text, variable string) {
	if m := environmentOf.FindStringSubmatch(o.initial); m != nil {
		return o.own, m[1]
	}
	if o.reason != "" {
		return o.own, ""
	}
	switch initial := strings.ReplaceAll(o.initial, " ", ""); {
	case initial == "T":
		return "true", ""
	case initial == "F":
		return "false", ""
	case strings.HasPrefix(initial, `"`):
		text, err := strconv.Unquote(initial)
		if err != nil {
			t.Fatal(err)
		}
		return text, ""
	case strings.HasSuffix(initial, "sec"):
		return strings.TrimSuffix(initial, "ec"), ""
	default:
		return strings.ToLower(initial), ""
	}
}

// TestZeekOptions checks that every constant of Zeek has a setting with the
// same meaning and default, and that every setting that names a constant of
// Zeek is in the table.
func TestZeekOptions(t *testing.T) {
	tables := map[string]*settings.Table{"controller": newControllerSettings().table(), "agent": newAgentSettings().table()}
	listed := make(map[string]bool)
	for _, o := range zeekOptions {
		if o.controller == "" && o.agent == "" && o.reason == "" {
			t.Errorf("%s has no setting and no reason", o.name)
		}
		for service, name := range map[string]string{"controller": o.controller, "agent": o.agent} {
			if name == "" {
				continue
			}
			listed[service+" "+name] = true
			i := slices.IndexFunc(tables[service].All(), func(s settings.Setting) bool { return s.Name == name })
			if i < 0 {
				t.Errorf("%s: the %s has no setting %s", o.name, service, name)
				continue
			}
			s := tables[service].All()[i]
			text, variable := o.byDefault(t)
			if s.Zeek != o.name {
				t.Errorf("%s of the %s names %s, want %s", name, service, s.Zeek, o.name)
			}
			if s.Default() != text {
				t.Errorf("%s of the %s is %q by default, want %q", name, service, s.Default(), text)
			}
			if variable != "" && !slices.ContainsFunc(s.Env, func(v settings.Variable) bool { return v.Name == variable }) {
				t.Errorf("%s of the %s does not use %s", name, service, variable)
			}
			if last := o.name[strings.LastIndexAny(o.name, ":$")+1:]; !strings.HasSuffix(name, strings.ReplaceAll(last, "_", "-")) {
				t.Errorf("%s of the %s is not named like %s", name, service, o.name)
			}
		}
	}
	for service, table := range tables {
		for _, s := range table.All() {
			if strings.HasPrefix(s.Zeek, "Management::") && !listed[service+" "+s.Name] {
				t.Errorf("%s of the %s, %s, is not in the table", s.Name, service, s.Zeek)
			}
		}
	}
}

var (
	zeekModule = regexp.MustCompile(`(?m)^module ([\w:]+);`)
	zeekConst  = regexp.MustCompile(`(?m)^\s+(?:const|option) (\w+)(?:: \w+)? = ([^;]*?)\s*&redef;`)
	zeekRedef  = regexp.MustCompile(`(?m)^redef (Management::Request::timeout_interval) = ([^;]*);`)
)

// TestZeekOptionsAreComplete checks that the table contains all redefinable
// constants in the scripts of an installed Zeek.
func TestZeekOptionsAreComplete(t *testing.T) {
	if os.Getenv("ZEEK") == "" {
		t.Skip("ZEEK does not name an installed Zeek")
	}
	for prefix := range strings.SplitSeq(os.Getenv("ZEEK"), ",") {
		version, err := exec.Command(filepath.Join(prefix, "bin", "zeek-config"), "--version").Output()
		if err != nil {
			continue // other tests report the error
		}
		t.Run(strings.TrimSpace(string(version)), func(t *testing.T) {
			has := make(map[string]bool)
			for _, o := range zeekOptions {
				has[o.name+" = "+o.initial] = true
			}
			constants := constantsOf(t, filepath.Join(prefix, "share/zeek/policy/frameworks/management"))
			t.Logf("checks: %d", len(constants)) // for the report of the live tests
			if len(constants) == 0 {
				t.Error("no constant found")
			}
			for _, c := range constants {
				if !has[c] {
					t.Errorf("not in the table: %s", c)
				}
			}
		})
	}
}

// constantsOf returns the redefinable constants in the scripts of a directory.
func constantsOf(t *testing.T, dir string) []string {
	found := make(map[string]bool)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".zeek" {
			return err
		}
		script, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		module := zeekModule.FindSubmatch(script)
		if module == nil {
			return nil
		}
		for _, m := range append(zeekConst.FindAllSubmatch(script, -1), zeekRedef.FindAllSubmatch(script, -1)...) {
			name := string(m[1])
			if !strings.Contains(name, "::") {
				name = string(module[1]) + "::" + name
			}
			found[fmt.Sprintf("%s = %s", name, strings.Join(strings.Fields(string(m[2])), " "))] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 30 {
		t.Errorf("only %d constants in %s", len(found), dir)
	}
	return slices.Sorted(maps.Keys(found))
}
