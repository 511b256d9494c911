package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The kinds of changes.
const (
	added   = "added"
	removed = "removed"
	changed = "changed"
	kept    = "kept"
)

// diff returns the changes from one configuration to another.
func diff(before, after zeekapi.Configuration) zeekapi.Diff {
	return zeekapi.Diff{
		From: before.ID, To: after.ID,
		Instances: changes(before.Instances, after.Instances, func(i zeekapi.Instance) string { return i.Name }, instanceFields),
		Nodes:     changes(before.Nodes, after.Nodes, func(n zeekapi.Node) string { return n.Name }, nodeFields),
	}
}

// changes compares items by name, field by field.
func changes[T any](before, after []T, name func(T) string, fields func(T) []field) []zeekapi.Change {
	was, is := byName(before, name), byName(after, name)
	names := maps.Clone(was)
	maps.Copy(names, is)
	var list []zeekapi.Change
	for _, n := range sortedKeys(names) {
		c := zeekapi.Change{Name: n, Kind: kept}
		old, existed := was[n]
		now, exists := is[n]
		switch {
		case !existed:
			c.Kind = added
		case !exists:
			c.Kind = removed
		default:
			if c.Fields = compare(fields(old), fields(now)); len(c.Fields) > 0 {
				c.Kind = changed
			}
		}
		list = append(list, c)
	}
	return list
}

// field is a field of a node or instance as text.
type field struct{ name, text string }

func compare(before, after []field) []zeekapi.FieldChange {
	var list []zeekapi.FieldChange
	for i := range before {
		if before[i].text != after[i].text {
			list = append(list, zeekapi.FieldChange{Field: before[i].name, Old: before[i].text, New: after[i].text})
		}
	}
	return list
}

func instanceFields(i zeekapi.Instance) []field {
	return []field{{"host", hostText(i)}, {"listen_port", portText(i.Port)}}
}

func hostText(i zeekapi.Instance) string {
	if unspecified(i.Host) {
		return ""
	}
	return i.Host.String()
}

func portText(p broker.Port) string {
	if p.Number == 0 {
		return ""
	}
	return p.String()
}

// nodeFields omits the state, which is never read.
func nodeFields(n zeekapi.Node) []field {
	var options []string
	for _, o := range n.Options {
		if o.Name != zeekapi.OptionCPUAffinity { // has a field of its own
			options = append(options, o.Name+"="+o.Value)
		}
	}
	slices.Sort(options)
	var env []string
	for _, name := range sortedKeys(n.Env) {
		env = append(env, name+"="+n.Env[name])
	}
	return []field{
		{"instance", n.Instance},
		{"role", string(n.Role)},
		{"port", portText(n.Port)},
		{"scripts", strings.Join(n.Scripts, " ")},
		{"options", strings.Join(options, " ")},
		{"interface", n.Interface},
		{"cpu_affinity", n.Affinity()},
		{"env", strings.Join(env, " ")},
		{"metrics_port", portText(n.MetricsPort)},
	}
}
