package clusterfile

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// defaultFanout is the fan-out ID of workers without another one (Zeek:
// AF_Packet::fanout_id).
const defaultFanout = 23

// maxFanout is the largest fan-out ID (Linux: PACKET_FANOUT).
const maxFanout = 1<<16 - 1

// addFanout gives the workers of each AF_PACKET interface of an instance the same fan-out
// ID, and each interface another one, because Linux refuses one ID for several interfaces.
// It changes only workers of sections that describe several, if the configuration shows no
// fan-out ID for them. The first interface keeps Zeek's default unless another interface
// of the instance has it, so that adding a second interface does not restart its workers.
func (b *builder) addFanout() {
	type device struct{ instance, name string }
	taken := map[string]map[string]bool{} // by instance, then by ID
	ids := map[device]string{}
	next := map[string]int{} // by instance: all smaller IDs are taken
	var open []int           // nodes that need an ID
	for i, n := range b.config.Nodes {
		c := captureOf(n)
		if n.Role != zeekapi.RoleWorker || c.method != afPacket {
			continue
		}
		if taken[n.Instance] == nil {
			taken[n.Instance] = map[string]bool{}
		}
		at := device{n.Instance, c.device}
		switch {
		case c.fanout != "":
			taken[n.Instance][c.fanout] = true
			if ids[at] == "" {
				ids[at] = c.fanout // also for its other workers
			}
		case b.derived[n.Name]:
			open = append(open, i)
		default:
			taken[n.Instance][strconv.Itoa(defaultFanout)] = true
			ids[at] = strconv.Itoa(defaultFanout)
		}
	}
	for _, i := range open {
		n := &b.config.Nodes[i]
		at := device{n.Instance, captureOf(*n).device}
		id := ids[at]
		for ; id == "" && next[n.Instance] <= maxFanout; next[n.Instance]++ {
			if text := strconv.Itoa(max(defaultFanout, next[n.Instance])); !taken[n.Instance][text] {
				id, ids[at], taken[n.Instance][text] = text, text, true
			}
		}
		if id != "" && id != strconv.Itoa(defaultFanout) {
			n.Scripts = append(slices.Clone(n.Scripts), fmt.Sprintf("%s=%s", FanoutOption, id))
			b.sortOwn(n)
		}
	}
}
