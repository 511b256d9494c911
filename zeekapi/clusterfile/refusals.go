package clusterfile

import (
	"fmt"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Refusals returns the errors for which zeekwire's agents refuse their part of c, as far
// as these do not depend on the machine: first about instances, then about nodes. The
// agents use the same functions.
func Refusals(c zeekapi.Configuration) []Advice {
	var found []Advice
	nodes := map[string]int{}
	for _, n := range c.Nodes {
		nodes[n.Instance]++
	}
	for _, i := range c.Instances {
		if err := zeekapi.CheckName(i.Name); err != nil {
			found = append(found, Advice{Instance: i.Name, Text: "instance " + err.Error()})
		}
		if count := nodes[i.Name]; count > zeekapi.MaxInstanceNodes {
			found = append(found, Advice{Instance: i.Name,
				Text: fmt.Sprintf("instance %s has %d nodes, limit is %d", quote(i.Name), count, zeekapi.MaxInstanceNodes)})
		}
	}
	for _, n := range c.Nodes {
		found = append(found, refusalsOf(n)...)
	}
	return found
}

// refusalsOf returns the errors for which an agent refuses a node.
func refusalsOf(n zeekapi.Node) []Advice {
	var found []Advice
	refuse := func(key string, err error) {
		found = append(found, Advice{Node: n.Name, Key: key, Text: fmt.Sprintf("node %s: %v", quote(n.Name), err)})
	}
	if err := zeekapi.CheckName(n.Name); err != nil {
		found = append(found, Advice{Node: n.Name, Text: "node " + err.Error()})
	}
	for _, script := range n.Scripts {
		if err := zeekapi.CheckScript(script); err != nil {
			refuse("scripts", err)
		}
	}
	if _, err := zeekapi.NetworkInterface(n.Interface); err != nil {
		refuse("interface", err)
	}
	if err := zeekapi.CheckCPUs(n); err != nil {
		refuse(cpuKey, err)
	}
	return found
}
