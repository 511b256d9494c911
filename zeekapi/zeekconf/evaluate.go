package zeekconf

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// evaluation evaluates the options of a file.
type evaluation struct {
	config *Config
	errs   configparser.Errors
}

func (e *evaluation) fail(line, column int, section, key, format string, args ...any) {
	if len(e.errs) < maxErrors {
		e.errs.Add(&configparser.Error{File: e.config.File, Line: line, Column: column, Section: section, Key: key,
			Text: fmt.Sprintf(format, args...)})
	}
}

// reject reports an error about the value of an option.
func (e *evaluation) reject(o *Option, format string, args ...any) {
	e.fail(o.Line, o.Column, o.Section, o.Key, format, args...)
}

// The names of sections.
const (
	zeekSection     = "zeek"
	interfacePrefix = "interface"
)

// file evaluates the sections of a file.
func (e *evaluation) file(sections []section) {
	if len(sections) == 1 && sections[0].name == "" {
		e.interfaceSection(sections[0], true)
		e.machine(sections[0])
		return
	}
	for _, s := range sections {
		switch {
		case s.name == "":
			o := s.options[0]
			e.fail(o.Line, 1, "", o.Key, "options in unnamed section mixed with options in sections")
			return
		case s.name == zeekSection:
			e.machine(s)
		case strings.HasPrefix(s.name, interfacePrefix):
			e.interfaceSection(s, false)
		default:
			e.ignore(s)
		}
	}
}

// ignore keeps the options of a section that the generator ignores.
func (e *evaluation) ignore(s section) {
	if len(s.options) == 0 {
		e.config.Unknown = append(e.config.Unknown, &Option{Section: s.name, Values: []string{""}, Line: s.line, Column: 1})
	}
	e.config.Unknown = append(e.config.Unknown, s.options...)
}

// interfaceName matches the name of a section of an interface.
var interfaceName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`interface ([-_a-z0-9]+)$`) })

// interfaceSection evaluates the section of an interface, or the options of an
// interface among all others. (Zeek: InterfaceWorkerConfig::from_section)
func (e *evaluation) interfaceSection(s section, mixed bool) {
	i := &Interface{Workers: -1}
	if s.name != "" {
		i.Line = s.line
		match := interfaceName().FindStringSubmatch(s.name)
		if match == nil {
			e.fail(s.line, 2, s.name, "", "invalid interface name in '%s' (must match /interface [-_a-z0-9]+/)", s.name)
			return
		}
		i.Name = match[1]
	}
	if len(s.options) == 0 {
		e.fail(s.line, 1, s.name, "", "empty section")
		return
	}
	before := len(e.errs)
	for _, o := range s.options {
		if !e.single(o) {
			continue
		}
		if !e.interfaceOption(i, o) && !mixed {
			e.fail(o.Line, 1, s.name, o.Key, "invalid option '%s'%s", o.Key, inSection(s.name))
		}
	}
	if len(e.errs) == before {
		e.checkInterface(s, i)
	}
	e.config.Interfaces = append(e.config.Interfaces, i)
}

// single reports whether an option has the one value that it may have.
func (e *evaluation) single(o *Option) bool {
	if len(o.Values) == 1 || strings.HasSuffix(o.Key, "env") || strings.HasSuffix(o.Key, "args") {
		return true
	}
	e.reject(o, "multiple values for '%s' given", o.Key)
	return false
}

// interfaceOption evaluates an option of an interface. It reports whether there is
// such an option.
func (e *evaluation) interfaceOption(i *Interface, o *Option) bool {
	switch o.Key {
	case "interface":
		i.Interface, i.Source = o, o.Value()
	case "workers":
		n, ok := parseInt(o.Value())
		if !ok || n < 0 {
			e.reject(o, "invalid workers value: '%s'", o.Value())
			return true
		}
		i.Workers = n
	case "workers_cpu_list":
		i.Process.CPUSet = o
		i.Process.CPUs = e.cpuList(o, "invalid workers_cpu_list value '%s'")
	case "worker_numa_policy", "workers_numa_policy":
		i.Process.NumaPolicy = o
		if v := o.Value(); v != "local" && v != "default" {
			e.reject(o, "invalid '%s' value", o.Key)
		}
	default:
		suffix, ok := strings.CutPrefix(o.Key, "worker_")
		return ok && e.processOption(&i.Process, o, "worker_", suffix)
	}
	return true
}

// checkInterface checks that an interface is complete.
func (e *evaluation) checkInterface(s section, i *Interface) {
	text := ""
	switch {
	case i.Workers >= 0 && i.Interface == nil:
		text = "found workers but no interface option"
	case i.Workers < 0 && i.Source != "":
		text = "found interface but no worker option"
	case i.Name != "" && i.Source == "":
		text = "empty interface option not allowed"
	default:
		return
	}
	line := s.line
	for _, o := range s.options {
		if o.Key == "workers" || o.Key == "interface" {
			line = o.Line
		}
	}
	e.fail(line, 1, s.name, "", "%s%s", text, inSection(s.name))
}

// processOption evaluates an option of the processes of a kind. It reports whether
// there is such an option. Except for workers, options with numbers may be empty in
// files without sections; with sections the generator takes them for others.
func (e *evaluation) processOption(p *Process, o *Option, prefix, suffix string) bool {
	number := suffix == "nice" || suffix == "memory_max"
	if number && o.empty() && prefix != "worker_" {
		return o.Section == ""
	}
	switch suffix {
	case "args":
		p.Args = o
	case "env":
		p.Env = o
		p.Variables = e.variables(o, prefix)
	case "nice":
		p.Nice = o
		if n, ok := parseInt(o.Value()); !ok || n < -20 || n > 19 {
			e.reject(o, "invalid %snice value '%s'", prefix, o.Value())
		}
	case "memory_max":
		p.MemoryMax = o
		if !memory().MatchString(o.Value()) {
			e.reject(o, "invalid %smemory_max '%s'", prefix, o.Value())
		}
	case "cpu_set":
		if prefix == "" || prefix == "worker_" {
			return false
		}
		p.CPUSet = o
		p.CPUs = e.cpuList(o, "invalid "+prefix+"cpu_set '%s'")
	default:
		return false
	}
	return true
}

// memory matches amounts of memory.
var memory = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]+[KMGT]?|[KMGT])$`) })

// variables returns the variables of an option, one a line.
func (e *evaluation) variables(o *Option, prefix string) []Variable {
	var all []Variable
	for _, value := range o.Values {
		if value == "" {
			continue
		}
		name, v, ok := strings.Cut(value, "=")
		if !ok {
			e.reject(o, "error in %senv: invalid env value '%s'", prefix, value)
			return nil
		}
		all = append(all, Variable{name, v})
	}
	return all
}

// nodePrefix matches the prefixes of names of nodes. Like the generator, it does not
// accept all digits at the beginning.
var nodePrefix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0][-a-z0-9_]*$`) })

// machine evaluates the options that are not of an interface.
func (e *evaluation) machine(s section) {
	for _, o := range s.options {
		if s.name == "" && len(e.config.Interfaces) > 0 && e.isOfInterface(o) {
			continue
		}
		switch {
		case e.machineOption(o):
			if s.name != "" {
				e.single(o)
			}
		case s.name == "":
			e.config.Unknown = append(e.config.Unknown, o)
		default:
			e.fail(o.Line, 1, s.name, o.Key, "invalid key '%s' in section '%s'", o.Key, s.name)
		}
	}
}

// machineOption evaluates an option that is not of an interface. It reports whether there
// is such an option.
func (e *evaluation) machineOption(o *Option) bool {
	if e.countOption(o) || e.addressOption(o) || e.kindOption(o) {
		return true
	}
	if !otherKeys[o.Key] {
		return false
	}
	e.config.Other[o.Key] = o
	e.checkOther(o)
	return true
}

// isOfInterface reports whether an option was evaluated as one of an interface.
func (e *evaluation) isOfInterface(o *Option) bool {
	probe := evaluation{config: e.config}
	return probe.interfaceOption(new(Interface), &Option{Key: o.Key, Values: o.Values[:1]})
}

// otherKeys are the keys of Config.Other.
var otherKeys = map[string]bool{
	"user": true, "group": true, "archiver": true, "base_dir": true, "path": true, "ext_path": true, "ext_zeek_path": true,
	"cluster_backend_args": true, "cluster_layout": true, "cluster_node_prefix": true, "restart_interval_sec": true,
}

func (e *evaluation) checkOther(o *Option) {
	switch o.Key {
	case "cluster_backend_args":
		e.config.BackendArgs = o.Joined()
	case "cluster_node_prefix":
		e.config.NodePrefix = o.Value()
		if o.Value() != "" && !nodePrefix().MatchString(o.Value()) {
			e.reject(o, "invalid cluster_node_prefix '%s' (must be empty or match /[a-z0-9][-_a-z0-9]+/)", o.Value())
		}
	}
}

// countOption evaluates a number of nodes.
func (e *evaluation) countOption(o *Option) bool {
	var into *int
	switch o.Key {
	case "manager":
		n, ok := parseInt(o.Value())
		if !ok || n != 0 && n != 1 {
			e.reject(o, "invalid manager value: '%s'", o.Value())
		}
		e.config.Manager = n == 1
		return true
	case "loggers":
		into = &e.config.Loggers
	case "proxies":
		into = &e.config.Proxies
	default:
		return false
	}
	n, ok := parseInt(o.Value())
	if !ok || n < 0 {
		e.reject(o, "invalid %s value: '%s'", o.Key, o.Value())
		return true
	}
	*into = n
	return true
}

// addressOption evaluates an address or a port.
func (e *evaluation) addressOption(o *Option) bool {
	switch o.Key {
	case "address", "cluster_address":
		e.config.Other["address"] = o
		if !isAddress(o.Value()) {
			e.reject(o, "invalid address '%s'", o.Value())
			return true
		}
		e.config.Address = strings.Trim(o.Value(), "[]")
	case "port", "cluster_port":
		e.config.Other["port"] = o
		if e.config.Port = atoi(o.Value()); e.config.Port < 1 || e.config.Port > 65535 {
			e.reject(o, "port '%s' is not a number in 1..65535", o.Value())
		}
	case "metrics_port":
		e.config.Other["metrics_port"] = o
		if e.config.MetricsPort = atoi(o.Value()); e.config.MetricsPort < 0 || e.config.MetricsPort > 65535 {
			e.reject(o, "metrics port '%s' is not a number in 0..65535", o.Value())
		}
	default:
		return false
	}
	return true
}

// kindOption evaluates an option of the processes of a kind, or of all processes.
func (e *evaluation) kindOption(o *Option) bool {
	c := e.config
	if o.Key == "args" || o.Key == "env" {
		return e.processOption(&c.Common, o, "", o.Key)
	}
	prefix, suffix, _ := strings.Cut(o.Key, "_")
	p := map[string]*Process{
		"manager": &c.ManagerProcess, "logger": &c.LoggerProcess, "proxy": &c.ProxyProcess, "archiver": &c.ArchiverProcess,
	}[prefix]
	return p != nil && e.processOption(p, o, prefix+"_", suffix)
}

// isAddress reports whether s is an address, with brackets around one of IPv6.
// (Zeek: is_valid_ip)
func isAddress(s string) bool {
	const shortest = 5
	if len(s) < shortest {
		return false
	}
	inner, bracketed := strings.CutPrefix(s, "[")
	if bracketed {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return false
		}
	}
	addr, err := netip.ParseAddr(inner)
	return err == nil && addr.Zone() == "" && addr.Is4() != bracketed
}

// parseInt returns the number that s consists of. (Zeek: parse_int)
func parseInt(s string) (int, bool) {
	if strings.HasPrefix(s, "+") {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil
}

// leadingInt matches the number at the beginning of a text.
var leadingInt = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\s*([+-]?[0-9]+)`) })

// atoi returns the number at the beginning of s, or 0. (C: atoi)
func atoi(s string) int {
	match := leadingInt().FindStringSubmatch(s)
	if match == nil {
		return 0
	}
	n, err := strconv.ParseInt(match[1], 10, 32)
	if err != nil {
		return -1
	}
	return int(n)
}

// maxCPUs limits the number of CPUs in a list.
const maxCPUs = 1 << 16

// cpuList returns the CPUs of a list such as 1,4-7,8-16:2. (Zeek: CpuList)
func (e *evaluation) cpuList(o *Option, text string) []int {
	if o.Value() == "" {
		return nil
	}
	var cpus []int
	for part := range strings.SplitSeq(o.Value(), ",") {
		first, last, stride, ok := cpuRange(part)
		if ok && len(cpus)+(last-first)/stride >= maxCPUs {
			e.reject(o, "%s: more than %d CPUs", fmt.Sprintf(text, o.Value()), maxCPUs)
			return nil
		}
		if !ok {
			e.reject(o, text, o.Value())
			return nil
		}
		for cpu := first; cpu <= last; cpu += stride {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// cpuRange parses N, N-M or N-M:STRIDE.
func cpuRange(s string) (first, last, stride int, ok bool) {
	left, right, isRange := strings.Cut(s, "-")
	if first, ok = parseInt(left); !ok || !isRange {
		return first, first, 1, ok
	}
	right, step, stepped := strings.Cut(right, ":")
	stride = 1
	if stepped {
		if stride, ok = parseInt(step); !ok || stride <= 0 {
			return 0, 0, 1, false
		}
	}
	last, ok = parseInt(right)
	return first, last, stride, ok && last >= first
}
