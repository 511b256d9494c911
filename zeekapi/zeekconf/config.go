package zeekconf

import (
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Config is the content of a file. Options that a file does not have are nil.
type Config struct {
	File string
	Host string // of a file HOST.zeek.conf, "" for others

	Manager          bool
	Loggers, Proxies int

	// Common has what holds for all processes. The others have the options of the
	// processes of one kind, whose keys begin with the kind.
	Common, ManagerProcess, LoggerProcess, ProxyProcess, ArchiverProcess Process

	// Interfaces are the network interfaces, in the order of the file.
	Interfaces []*Interface

	// BackendArgs are the arguments of zeek for the cluster backend.
	BackendArgs string

	// Archives says that rotated logs are archived, by Zeek's program unless
	// ArchiverCommand is not empty.
	Archives        bool
	ArchiverCommand string

	NodePrefix  string // with which the names of nodes begin, except that of the manager
	Address     string // of the machine, "" if nodes look up Host
	Port        int    // first port of nodes
	MetricsPort int    // first port for metrics, 0 for none

	// Other options of the machine, by their keys.
	Other map[string]*Option

	// Unknown are the options, and the sections, that the generator ignores.
	Unknown []*Option

	nodes []Node
}

// Process has the options of the processes of one kind.
type Process struct {
	Args, Env, Nice, MemoryMax, CPUSet, NumaPolicy *Option

	Variables []Variable
	CPUs      []int // of CPUSet, or of the list of CPUs of workers
}

// Variable is an environment variable. The value is as written: workers replace
// variables in it, see Node.
type Variable struct{ Name, Value string }

// Interface is a network interface with its workers.
type Interface struct {
	Name      string // of the section, "" without sections
	Line      int    // of the section, 0 without sections
	Source    string // from which workers read packets, as written
	Interface *Option
	Workers   int
	Process   Process
}

// The values of options that a file does not have.
const (
	DefaultBackendArgs = "frameworks/cluster/backend/zeromq"
	DefaultArgs        = "local"
	DefaultPort        = 27760
	DefaultMetricsPort = 9991
	DefaultPath        = "/usr/local/bin:/usr/bin:/bin"

	defaultAddress = "127.0.0.1"
)

func newConfig(name string) *Config {
	return &Config{File: name, Host: hostOf(name), Port: DefaultPort, MetricsPort: DefaultMetricsPort, Other: map[string]*Option{}}
}

// hostOf returns the HOST of a file HOST.zeek.conf, or "".
func hostOf(name string) string {
	if host, ok := strings.CutSuffix(filepath.Base(name), ".zeek.conf"); ok {
		return host
	}
	return ""
}

// clusterFile matches the names of the files that belong to a cluster.
var clusterFile = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9][-a-z0-9_]*\.zeek\.conf$`) })

// IsClusterFile reports whether a file of a directory is one of its cluster.
func IsClusterFile(name string) bool { return clusterFile().MatchString(filepath.Base(name)) }

// defaults sets the values that depend on other options.
func (c *Config) defaults() {
	if c.BackendArgs == "" {
		c.BackendArgs = DefaultBackendArgs
	}
	if c.Other["cluster_node_prefix"] == nil {
		c.NodePrefix = c.Host
	}
	if c.Host == "" && c.Address == "" {
		c.Address = defaultAddress
	}
	switch archiver := c.Other["archiver"]; {
	case archiver == nil:
		c.Archives = c.Manager || c.Loggers > 0
	case archiver.Value() != "0":
		c.Archives = true
		if archiver.Value() != "1" {
			c.ArchiverCommand = archiver.Value()
		}
	}
}

// Args returns the arguments of zeek that all processes have.
func (c *Config) Args() string {
	if o := c.Common.Args; o != nil && o.Joined() != "" {
		return o.Joined()
	}
	return DefaultArgs
}

// prefixed returns the name of a node that is not the manager.
func (c *Config) prefixed(name string) string {
	if c.NodePrefix == "" {
		return name
	}
	return c.NodePrefix + "-" + name
}
