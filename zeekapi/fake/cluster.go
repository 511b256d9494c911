package fake

import (
	"fmt"
	"net/netip"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// SampleCluster returns the configuration of a small cluster on the given
// instances, or without any on DefaultInstance: a manager, a logger and a proxy on
// the first, and a worker on each. The ports are left to the controller.
func SampleCluster(instances ...string) zeekapi.Configuration {
	if len(instances) == 0 {
		instances = []string{DefaultInstance}
	}
	c := zeekapi.Configuration{ID: "sample"}
	add := func(name, instance string, role zeekapi.ClusterRole) {
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: name, Instance: instance, Role: role, State: zeekapi.StateRunning})
	}
	add("manager", instances[0], zeekapi.RoleManager)
	add("logger", instances[0], zeekapi.RoleLogger)
	add("proxy", instances[0], zeekapi.RoleProxy)
	for i, name := range instances {
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()})
		add(fmt.Sprintf("worker-%d", i+1), name, zeekapi.RoleWorker)
	}
	return c
}
