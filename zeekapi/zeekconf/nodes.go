package zeekconf

import (
	"fmt"
	"strconv"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/internal/substitute"
)

// Node is a process of Zeek on the machine of a file.
type Node struct {
	Name string
	Role zeekapi.ClusterRole

	// Interface is the packet source of a worker, CPU the CPU that it runs on, nil
	// for any (see CPUs for other nodes), and Variables is the environment of the node. In all of them,
	// ${worker_index} and other variables are replaced.
	Interface string
	CPU       *int
	Variables []Variable

	Port        int // 0 for none
	MetricsPort int // 0 for none

	// Process has the options of the kind of process, and On the interface of a
	// worker.
	Process *Process
	On      *Interface
}

// CPUs returns the CPUs that the node runs on, in the order of the file; nil for any.
func (n Node) CPUs() []int {
	switch {
	case n.CPU != nil:
		return []int{*n.CPU}
	case n.Role != zeekapi.RoleWorker:
		return n.Process.CPUs
	}
	return nil
}

// Nodes returns the nodes of the machine, in the order of their ports.
func (c *Config) Nodes() []Node { return c.nodes }

// expand creates the nodes of the machine. The error is one of those of e.
func (e *evaluation) expand() error {
	x := expansion{evaluation: e, port: e.config.Port, metricsPort: e.config.MetricsPort}
	c := e.config
	total := c.Loggers + c.Proxies
	for _, i := range c.Interfaces {
		total += max(0, i.Workers)
	}
	if total >= zeekapi.MaxInstanceNodes {
		e.fail(0, 0, "", "", "%d nodes on one machine, limit is %d", total, zeekapi.MaxInstanceNodes)
		return e.errs
	}
	if c.Manager {
		// There is only one in a cluster, so its name has no prefix.
		x.add(Node{Name: "manager", Role: zeekapi.RoleManager, Process: &c.ManagerProcess}, nil)
	}
	for n := range c.Loggers {
		x.add(Node{Name: c.prefixed(fmt.Sprintf("logger-%d", n+1)), Role: zeekapi.RoleLogger, Process: &c.LoggerProcess}, nil)
	}
	for n := range c.Proxies {
		x.add(Node{Name: c.prefixed(fmt.Sprintf("proxy-%d", n+1)), Role: zeekapi.RoleProxy, Process: &c.ProxyProcess}, nil)
	}
	for _, i := range c.Interfaces {
		x.workers(i)
	}
	if len(e.errs) > 0 {
		return e.errs
	}
	return nil
}

// expansion adds nodes to a configuration.
type expansion struct {
	*evaluation
	port, metricsPort int
	index             int // of the last worker of the machine, starting at 1
}

// workers adds the workers of an interface.
func (x *expansion) workers(i *Interface) {
	name := "worker-"
	if i.Name != "" {
		name += i.Name + "-"
	}
	for n := 1; n <= i.Workers && len(x.errs) == 0; n++ {
		x.index++
		variables := map[string]string{
			"worker_index": strconv.Itoa(n), "worker_index0": strconv.Itoa(n - 1),
			"host_worker_index": strconv.Itoa(x.index), "host_worker_index0": strconv.Itoa(x.index - 1),
		}
		if i.Name != "" {
			variables["interface_section_name"] = i.Name
		}
		node := Node{Name: x.config.prefixed(name + strconv.Itoa(n)), Role: zeekapi.RoleWorker, Process: &i.Process, On: i}
		if cpus := i.Process.CPUs; len(cpus) > 0 {
			// The index of the machine, not that of the interface.
			cpu := cpus[(x.index-1)%len(cpus)]
			node.CPU = &cpu
			variables["worker_cpu"] = strconv.Itoa(cpu)
		}
		source, err := replaceVariables(i.Source, variables)
		if err != nil {
			x.reject(i.Interface, "interface substitution for '%s' failed: %v", i.Source, err)
		}
		node.Interface = source
		x.add(node, variables)
	}
}

func (x *expansion) add(n Node, variables map[string]string) {
	for _, p := range []*Process{&x.config.Common, n.Process} {
		for _, v := range p.Variables {
			value, err := replaceVariables(v.Value, variables)
			if err != nil {
				x.reject(p.Env, "worker_env substitution for '%s' failed of '%s': %v", v.Value, v.Name, err)
				return
			}
			n.Variables = append(n.Variables, Variable{v.Name, value})
		}
	}
	if n.Role != zeekapi.RoleWorker {
		n.Port = x.port
		x.port++
	}
	if x.metricsPort > 0 {
		n.MetricsPort = x.metricsPort
		x.metricsPort++
	}
	if max(n.Port, n.MetricsPort) > 65535 {
		x.fail(0, 0, "", "", "no port is left for node %s", n.Name)
		return
	}
	x.config.nodes = append(x.config.nodes, n)
}

// maxSubstituted limits the size of a text with replaced variables.
const maxSubstituted = 1 << 16

// replaceVariables replaces ${NAME} in a text by variables.
func replaceVariables(text string, variables map[string]string) (string, error) {
	return substitute.Variables(text, maxSubstituted, func(name string) (string, error) {
		value, ok := variables[name]
		if !ok {
			return "", fmt.Errorf("invalid substitution var '%s'", name)
		}
		return value, nil
	})
}

// CheckCluster checks the files of the machines of one cluster: only one of them may
// have the manager, and the names of nodes must be unique. The name of their
// directory appears in errors.
func CheckCluster(dir string, files []*Config) error {
	var errs configparser.Errors
	seen := map[string]string{}
	managers := 0
	for _, c := range files {
		if c.Manager {
			managers++
		}
		for _, n := range c.nodes {
			if other, ok := seen[n.Name]; ok && n.Role != zeekapi.RoleManager {
				errs.Add(&configparser.Error{File: c.File, Text: fmt.Sprintf("node '%s' is also one of %s", n.Name, other)})
				break
			}
			seen[n.Name] = c.File
		}
	}
	if managers > 1 {
		errs.Add(&configparser.Error{File: dir, Text: fmt.Sprintf("too many manager nodes (%d) from %s", managers, dir)})
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}
