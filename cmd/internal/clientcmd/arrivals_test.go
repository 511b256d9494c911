package clientcmd_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestAwaitAgents checks that a deployment waits for an agent that the controller has not
// missed for long.
func TestAwaitAgents(t *testing.T) {
	const missing = "error: the agent of sensor is not connected; start it, or run \"zeekwire drain sensor\" to deploy without it\nerror: nothing was deployed\n"
	sensor := zeekapi.Instance{Name: "sensor", Host: netip.MustParseAddr("10.0.0.1")}
	file := filepath.Join(t.TempDir(), "c.ini")
	text := "[m]\ninstance = sensor\nrole = manager\n[l]\ninstance = sensor\nrole = logger\n[p]\ninstance = sensor\nrole = proxy\n[w]\ninstance = sensor\nrole = worker\ninterface = eth0\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started := func(at time.Time) zeekapi.Status { return zeekapi.Status{Controller: zeekapi.Process{Started: at}} }
	leads := func(at time.Time) zeekapi.Status {
		return zeekapi.Status{Controllers: []zeekapi.ControllerMember{{Leads: true, Since: at}}}
	}
	lost := func(at time.Time) zeekapi.Status {
		return zeekapi.Status{Instances: []zeekapi.InstanceStatus{{Instance: sensor, Wanted: true, Since: at}}}
	}
	for _, test := range []struct {
		name            string
		status          func(time.Time) zeekapi.Status
		since, connects time.Duration // the change before the command, and the connection after its begin
		command         string
		took            time.Duration
		changes, stderr string
	}{
		{name: "the controller has just started", status: started, connects: 4 * time.Second, took: 4 * time.Second, changes: "staged deployed"},
		{name: "it has just begun to lead", status: leads, connects: 4 * time.Second, took: 4 * time.Second, changes: "staged deployed"},
		{name: "it has just lost the agent", status: lost, connects: 4 * time.Second, took: 4 * time.Second, changes: "staged deployed"},
		{name: "the agent does not connect", status: started, since: 5 * time.Second, connects: time.Hour, took: 7 * time.Second, stderr: missing},
		{name: "it has been away for long", status: lost, since: time.Minute, connects: time.Hour, stderr: missing},
		{name: "the controller started long ago", status: started, since: time.Minute, connects: time.Hour, stderr: missing},
		{
			name: "it does not connect, partial", status: started, command: " --partial", connects: time.Hour, took: 12 * time.Second,
			changes: "staged deployed partial", stderr: "warning: the agent of sensor is not connected; its nodes are left out\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &preflightCluster{status: test.status(time.Now().Add(-test.since))}
				begin := time.Now()
				tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message {
					if time.Since(begin) >= test.connects {
						p.agents = []zeekapi.Instance{sensor}
					}
					return p.respond(t, m)
				})
				tool.Extended = true
				got := runCommand(t, tool, "", append(strings.Fields("deploy-config"+test.command), file)...)
				if changes := strings.Join(p.changes, " "); changes != test.changes || got.stderr != test.stderr || time.Since(begin) != test.took {
					t.Errorf("after %v: changes %q, want %q after %v; standard error\n%s\nwant\n%s", time.Since(begin), changes, test.changes, test.took, got.stderr, test.stderr)
				}
			})
		})
	}
}
