// Package selection selects nodes of a cluster by name, pattern, glob, role, group or
// instance:
//
//	q := selection.Query{Words: []string{"worker-*"}, Instances: []string{"sensor-[01-20]"}}
//	names, err := q.Nodes(config)
//
// The groups of nodes are part of the configuration, see zeekapi.OptionGroup.
package selection
