package compat

import (
	"regexp"
	"strings"
	"testing"
)

// TestPeers runs a cluster whose parts have different versions, as during an upgrade:
// it lets an operator do with them what they do every day.
func TestPeers(t *testing.T) {
	for _, v := range versions(t) {
		for _, tt := range []struct {
			name                         string
			controller, one, two, client bool // whether the part is a former version
		}{
			{name: "former agents", one: true, two: true},
			{name: "one former agent", one: true},
			{name: "former controller", controller: true, client: true},
			{name: "former controller and agents", controller: true, one: true, two: true},
			{name: "former client", client: true},
		} {
			t.Run(v.name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				of := func(former bool) program {
					if former {
						return v.former(t)
					}
					return present(t)
				}
				c := newCluster(t, of(tt.client))
				c.controller(of(tt.controller))
				c.agent(of(tt.one), "sensor-1")
				c.agent(of(tt.two), "sensor-2")
				c.operate()
			})
		}
	}
}

// operate does with a cluster what operators do.
func (c *cluster) operate() {
	running := func(node string) { c.t.Helper(); c.awaitText(`"`+node+`"[^}]*"RUNNING"`, "get-nodes") }
	c.do("deploy-config", "two.cfg")
	for _, node := range []string{"logger", "manager", "worker-1", "worker-2"} {
		running(node)
	}
	c.awaitText(`"worker-2"[^}]*"RUNNING"`, "status")
	c.do("restart", "worker-1")
	c.do("rolling-restart")
	c.awaitText(`"restarts": 2`, "status")
	c.do("logs", "worker-1")
	c.do("events")

	if out, err := c.try("stop", "worker-1", "worker-2"); err == nil {
		c.awaitText(`"worker-2"[^}]*"STOPPED"`, "get-nodes")
		c.do("deploy-config", "--force", "two.cfg")
		c.awaitText(`"worker-2"[^}]*"STOPPED"`, "get-nodes")
		c.do("start", "--all")
		running("worker-2")
	} else if !regexp.MustCompile("does not know this request|unknown command").MatchString(err.Error()) {
		c.t.Errorf("stop is neither supported nor refused: %v\n%s", err, out)
	}

	c.do("drain", "sensor-2")
	if strings.Contains(c.do("get-nodes"), `"worker-2"`) {
		c.t.Error("a drained instance has nodes")
	}
	c.do("undrain", "sensor-2")
	running("worker-2")

	c.do("stage-config", "staged.cfg")
	c.do("deploy")
	if strings.Contains(c.do("get-nodes"), `"worker-1"`) {
		c.t.Error("worker-1 runs, which was removed")
	}
	c.do("rollback")
	running("worker-1")
	c.do("diff", "two.cfg")
	c.awaitText(`"action": "rollback"`, "history")
}
