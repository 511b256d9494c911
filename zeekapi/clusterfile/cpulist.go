package clusterfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// dealtCPUs returns the values of cpu_affinity that the workers of a section get in turn. Each
// worker gets one CPU of a list such as 4-11, or all CPUs in a pair of parentheses, as in
// (0-3),(8-11).
func dealtCPUs(list string) (dealt []string, err error) {
	cpus := 0
	for _, part := range partsOf(list) {
		set, inParentheses := strings.CutPrefix(strings.TrimSpace(part), "(")
		if inParentheses {
			if set, inParentheses = strings.CutSuffix(set, ")"); !inParentheses {
				return nil, fmt.Errorf("%q in the list of CPUs has no closing parenthesis", part)
			}
		}
		of, err := zeekapi.ParseCPUs(set)
		if err != nil {
			return nil, err
		}
		if cpus += len(of); cpus > zeekapi.MaxCPUs {
			return nil, fmt.Errorf("a list of CPUs has more than %d of them", zeekapi.MaxCPUs)
		}
		if inParentheses {
			dealt = append(dealt, zeekapi.FormatCPUs(of))
			continue
		}
		for _, cpu := range of {
			dealt = append(dealt, strconv.FormatInt(cpu, 10))
		}
	}
	return dealt, nil
}

// partsOf splits a list at the commas that are not in parentheses.
func partsOf(list string) []string {
	var parts []string
	open, start := false, 0
	for i := range len(list) {
		switch c := list[i]; {
		case c == '(':
			open = true
		case c == ')':
			open = false
		case c == ',' && !open:
			parts = append(parts, list[start:i])
			start = i + 1
		}
	}
	return append(parts, list[start:])
}

// affinity reads the CPUs of a node. zeek-client knows a single CPU only.
func (n *nodeReader) affinity(node *zeekapi.Node) {
	value, _ := n.value(cpuKey)
	if _, single := configparser.ParseInt(value); !single && n.extended && strings.ContainsAny(value, "-,:(") {
		n.cpus(node, value)
		return
	}
	number := n.number(cpuKey)
	switch {
	case number == nil:
	case !number.IsInt64():
		n.reject(cpuKey, "cpu_affinity %d outside valid range", number)
	default:
		cpu := number.Int64()
		node.CPUAffinity = &cpu
	}
}

// cpus reads a list of the CPUs of a node.
func (n *nodeReader) cpus(node *zeekapi.Node, list string) {
	cpus, err := zeekapi.ParseCPUs(list)
	switch {
	case err == nil:
		node.SetCPUs(cpus)
	case strings.Contains(list, "("):
		n.reject(cpuKey, "cpu_affinity %s has parentheses, which require the key %s", quote(list), workersKey)
	default:
		n.reject(cpuKey, "%v", err)
	}
}
