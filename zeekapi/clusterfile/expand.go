package clusterfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// Limits for the expansion of short forms.
const (
	maxNodes    = selection.MaxNames // nodes of sections that describe several
	maxExpanded = 64 << 20           // size of the values of these nodes, in bytes
	valueCost   = 64                 // bytes added to the size of each value
)

// Keys of sections that describe several nodes.
const (
	workersKey = "workers"
	cpuKey     = "cpu_affinity"
)

// templated lists the keys whose values may contain variables, in a section that describes
// several nodes.
var templated = []string{"interface", "env", "scripts", "args"}

// expander expands the sections of a file that describe several nodes.
type expander struct {
	nodes    int            // of such sections
	size     int            // of their values, see maxExpanded
	declared int            // instances of patterns in [instances]
	workers  map[string]int // number of workers so far, by instance
	names    map[string]int // line of each node
}

// expansion is the expansion of a section that describes several nodes.
type expansion struct {
	*builder
	section     *configparser.Section
	worker      bool // the nodes are workers
	instances   []string
	pattern     bool     // instances are those of a pattern
	keyed       bool     // the section has the key workers
	perInstance int      // number of nodes on each instance
	cpus        []string // values of cpu_affinity that the workers get in turn
}

// expand returns a section for each node that a section describes: the section itself,
// unless it has workers or a pattern of instances. It returns nothing if it reports an
// error.
func (b *builder) expand(s *configparser.Section) []*configparser.Section {
	e := &expansion{builder: b, section: s}
	role := value(s, "role")
	if role == "" {
		role = value(s, "type")
	}
	known, _ := roleOf(role)
	e.worker = known == zeekapi.RoleWorker
	e.keyed = s.Option(workersKey) != nil
	instance := value(s, "instance")
	e.pattern = selection.IsPattern(instance)
	if !e.keyed && !e.pattern {
		if e.worker {
			b.expander.workers[instance]++
		}
		return b.unique(s, []*configparser.Section{s})
	}
	if b.expander.nodes > maxNodes {
		return nil // already reported
	}
	var err error
	if e.instances, err = selection.Expand(instance); err != nil {
		e.reject("instance", "%v", err)
		return nil
	}
	if !e.count() {
		return nil
	}
	return b.unique(s, e.derive())
}

// value returns the value of a key of a section, "" if it has none.
func value(s *configparser.Section, key string) string {
	if o := s.Option(key); o != nil {
		return o.Value
	}
	return ""
}

// reject reports an error about a key of the section.
func (e *expansion) reject(key, format string, args ...any) {
	(&nodeReader{e.builder, e.section}).reject(key, format, args...)
}

// count reads the keys that determine the number of nodes, and refuses keys that these
// cannot share. It reports whether they are valid.
func (e *expansion) count() bool {
	s := e.section
	e.perInstance = 1
	if e.keyed {
		n, ok := configparser.ParseInt(value(s, workersKey))
		switch {
		case !e.worker:
			e.reject(workersKey, "only a section with the role worker can describe several workers")
			return false
		case !ok || n.Sign() < 0:
			e.reject(workersKey, "workers %s is not a number", quote(value(s, workersKey)))
			return false
		case !n.IsInt64() || n.Int64() > maxNodes:
			e.reject(workersKey, "%s", errNodes)
			return false
		}
		e.perInstance = int(n.Int64())
		if e.perInstance > 1 {
			for _, key := range []string{"port", "metrics_port"} {
				if s.Option(key) != nil {
					e.reject(key, "%s is that of a single node, and the section describes %d on an instance", key, e.perInstance)
					return false
				}
			}
		}
		if list := value(s, cpuKey); list != "" {
			var err error
			if e.cpus, err = dealtCPUs(list); err != nil {
				e.reject(cpuKey, "%v", err)
				return false
			}
		}
	}
	if e.expander.nodes += len(e.instances) * e.perInstance; e.expander.nodes > maxNodes {
		e.reject(e.key(), "%s", errNodes)
		return false
	}
	return true
}

// errNodes is the error about too many nodes.
var errNodes = fmt.Errorf("the sections with workers and patterns describe more than %d nodes", maxNodes)

// key returns the key because of which the section describes several nodes.
func (e *expansion) key() string {
	if e.keyed {
		return workersKey
	}
	return "instance"
}

// derive returns the sections of the nodes. After an error it returns those before.
func (e *expansion) derive() []*configparser.Section {
	var all []*configparser.Section
	for _, instance := range e.instances {
		base := strings.ReplaceAll(e.section.Name, "${instance}", instance)
		if e.pattern && base == e.section.Name {
			base += "-" + instance
		}
		for i := 1; i <= e.perInstance; i++ {
			name := base
			if e.keyed {
				name += "-" + strconv.Itoa(i)
			}
			if e.worker {
				e.expander.workers[instance]++
			}
			s, ok := e.node(name, instance, i)
			if !ok {
				return all
			}
			all = append(all, s)
		}
	}
	return all
}

// node returns the section of a node. The index is that of a worker on its instance.
func (e *expansion) node(name, instance string, index int) (*configparser.Section, bool) {
	vars := e.variables(instance, index)
	values := map[string]string{"instance": instance}
	for _, key := range templated {
		o := e.section.Option(key)
		if o == nil || !o.HasValue {
			continue
		}
		text, err := vars.substitute(o.Value)
		if err != nil {
			e.reject(key, "%s: %v", key, err)
			continue
		}
		values[key] = text
	}
	if cpu, ok := vars["worker_cpu"]; ok {
		values[cpuKey] = cpu
	}
	derived := e.section.Derive(name, values)
	for _, o := range derived.Options {
		e.expander.size += valueCost + len(o.Value)
	}
	if e.expander.size > maxExpanded {
		e.reject(e.key(), "the values of the nodes of these sections have more than %d bytes", maxExpanded)
		return nil, false
	}
	return derived, true
}

// variables returns the variables of a node. Those of zeek.conf have the same names.
func (e *expansion) variables(instance string, index int) variables {
	vars := variables{"interface_section_name": e.section.Name}
	if _, name, ok := strings.Cut(e.section.Name, "worker-"); ok {
		vars["interface_section_name"] = name
	}
	if instance != "" {
		vars["instance"] = instance
	}
	if !e.worker {
		return vars
	}
	set := func(name string, n int) { vars[name] = strconv.Itoa(n) }
	set("worker_index", index)
	set("worker_index0", index-1)
	set("host_worker_index", e.expander.workers[instance])
	set("host_worker_index0", e.expander.workers[instance]-1)
	if len(e.cpus) > 0 {
		vars["worker_cpu"] = e.cpus[(index-1)%len(e.cpus)]
	}
	return vars
}

// unique returns the sections of nodes whose names are unique, and reports an error about
// the first of the others.
func (b *builder) unique(written *configparser.Section, nodes []*configparser.Section) []*configparser.Section {
	for i, s := range nodes {
		if first, again := b.expander.names[s.Name]; again {
			b.fail(written.Line, written.Name, "", "node %s occurs twice, first in line %d", quote(s.Name), first)
			return nodes[:i]
		}
		b.expander.names[s.Name] = s.Line
	}
	return nodes
}

// instances returns the instances that an entry of [instances] describes, each with its
// address as text. Without a pattern, that is the entry itself.
func (x *expander) instances(name, address string) (names, addresses []string, err error) {
	if !selection.IsPattern(name) && !selection.IsPattern(address) {
		return []string{name}, []string{address}, nil
	}
	if names, err = selection.Expand(name); err != nil {
		return nil, nil, err
	}
	if x.declared += len(names); x.declared > maxNodes {
		return nil, nil, fmt.Errorf("the patterns describe more than %d instances", maxNodes)
	}
	if address == "" {
		return names, make([]string, len(names)), nil
	}
	switch addresses, err = selection.Expand(address); {
	case err != nil:
		return nil, nil, err
	case len(addresses) != len(names):
		return nil, nil, fmt.Errorf("%s and %s expand to different numbers of names, %d and %d", quote(name), quote(address), len(names), len(addresses))
	}
	return names, addresses, nil
}
