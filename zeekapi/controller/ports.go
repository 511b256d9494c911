package controller

import (
	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// usedPorts contains the TCP ports that other programs use on the machine of each
// instance.
type usedPorts map[string]map[uint16]bool

// add takes the ports that the agent of an instance reported.
func (u usedPorts) add(instance string, results []zeekapi.Result) {
	for _, res := range results {
		ports, ok := dataOf[zeekapi.MachinePorts](res.Data)
		if !res.Success || !ok || len(ports.InUse) == 0 {
			continue
		}
		u[instance] = make(map[uint16]bool)
		for _, n := range ports.InUse[:min(len(ports.InUse), zeekapi.MaxMachinePorts)] {
			u[instance][n] = true
		}
		return
	}
}

// has reports whether another program uses a port on an instance.
func (u usedPorts) has(instance string, p broker.Port) bool {
	return p.Number != 0 && p.Protocol == broker.ProtocolTCP && u[instance][p.Number]
}
