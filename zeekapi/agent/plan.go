package agent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// The limits of a configuration.
const (
	MaxNodes    = 1000 // on one instance
	MaxNameSize = 255  // in bytes: names are names of directories and files
)

// plan returns the nodes of an instance, sorted in the order in which to start
// them, or why the configuration cannot be.
func plan(config zeekapi.Configuration, instance string) ([]launch.Node, error) {
	cluster := make([]launch.Member, 0, len(config.Nodes))
	instances := make(map[string]zeekapi.Instance, len(config.Instances))
	for _, i := range config.Instances {
		if _, again := instances[i.Name]; !again {
			instances[i.Name] = i
		}
	}
	for _, n := range config.Nodes {
		if err := checkName(n.Name); err != nil {
			return nil, fmt.Errorf("node %w", err)
		}
		// Events cannot carry these, but a saved configuration can.
		if !n.Role.Valid() {
			return nil, fmt.Errorf("node %s has the unknown role %q", n.Name, n.Role)
		}
		if !n.Port.Protocol.Valid() || !n.MetricsPort.Protocol.Valid() {
			return nil, fmt.Errorf("node %s has a port of unknown protocol", n.Name)
		}
		home, ok := instances[n.Instance]
		if !ok {
			return nil, fmt.Errorf("node %s is on instance %q, which the configuration does not have", n.Name, n.Instance)
		}
		cluster = append(cluster, launch.Member{
			Name: n.Name, Role: n.Role, Host: home.Host, Port: n.Port, MetricsPort: n.MetricsPort,
		})
	}
	slices.SortFunc(cluster, func(a, b launch.Member) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(cluster); i++ {
		if cluster[i].Name == cluster[i-1].Name {
			return nil, fmt.Errorf("two nodes have the name %s", cluster[i].Name)
		}
	}

	own := config.NodesOn(instance)
	if len(own) > MaxNodes {
		return nil, fmt.Errorf("%d nodes on one instance, limit is %d", len(own), MaxNodes)
	}
	nodes := make([]launch.Node, len(own))
	for i, n := range own {
		nodes[i] = launch.Node{Node: n, Cluster: cluster}
	}
	slices.SortFunc(nodes, launch.Compare)
	return nodes, nil
}

// checkName refuses what cannot name a directory or would read badly in a
// script.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > MaxNameSize:
		return fmt.Errorf("name of %d bytes, limit is %d", len(name), MaxNameSize)
	case name == "." || name == "..",
		strings.ContainsFunc(name, func(r rune) bool {
			return r == '/' || r == '\\' || r == '"' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsPrint(r)
		}):
		return fmt.Errorf("name %q: want printable characters other than spaces, slashes and quotes", name)
	}
	return nil
}
