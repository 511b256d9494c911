package faults

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

var others = flag.Bool("faults.others", false, "run the tests of faults in other packages, too")

// TestOthers runs tests of faults that need no processes of their own, or no file system,
// and adds them to the table.
func TestOthers(t *testing.T) {
	if !*others {
		t.Skip("without -faults.others; these tests also run by themselves")
	}
	// What the log of a test says about its extent.
	extent := regexp.MustCompile(`_test\.go:\d+: (.*)`)
	for _, test := range []struct{ fault, where, pkg, name string }{
		{"killed at each step", "controller", "controller", "TestControllerKilledAtEachStep"},
		{"killed at each step of a deployment", "controller", "controller", "TestDeploymentKilledAtEachStep"},
		{"killed at each step of a rolling restart", "controller", "controller", "TestRollingRestartKilledAtEachStep"},
		{"kill -9 of the process", "controller", "controller", "TestStateSurvivesKill"},
		{"each save fails", "controller", "controller", "TestStoreFailsAtEachSave"},
		{"saves fail at random", "controller", "controller", "TestStoreFailsAtRandom"},
		{"state file damaged", "controller", "controller", "TestStoreDetectsDamage"},
		{"killed at any output", "agent", "agent", "TestKilledAtAnyOutput"},
		{"killed between requests", "agent", "agent", "TestKilledBetweenRequests"},
		{"kill -9 of the process", "agent, Zeek processes", "agent/launch/zeek", "TestAgentKilled"},
		{"disk full", "agent, Zeek processes", "agent/launch/zeek", "TestFullDisk"},
		{"output fills the disk", "nodes", "agent/launch/zeek", "TestCutOutputOnFullDisk"},
		{"disk full", "archive", "agent/archive", "TestFullDisk"},
		{"each step fails", "archive", "agent/archive", "TestEveryStepFails"},
		// The clock of a machine cannot be set for a process. A machine without I/O
		// takes its times from the test.
		{"clock steps, suspended machine", "loop of controller and agent", "internal/eventloop", "TestRunPassesMonotonicTimes"},
		{"clock steps", "controller, simulated", "controller", "TestSimulation"},
		{"clock steps", "agent, adopted nodes", "agent", "TestAdoptedNodesAndClock"},
		{"clock steps", "sites", "site", "TestStoreAndClock"},
	} {
		t.Run(test.where+" "+test.fault, func(t *testing.T) {
			r := report(t, test.fault, test.where)
			r.elsewhere = true
			cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^"+test.name+"$", "./zeekapi/"+test.pkg)
			cmd.Dir = "../../.."
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			passed := regexp.MustCompile(`(?m)^--- PASS`).FindAllIndex(out, -1)
			if len(passed) == 0 {
				t.Skipf("no such test: %s in %s\n%s", test.name, test.pkg, out)
			}
			if match := extent.FindSubmatch(out); match != nil {
				r.remark = string(match[1])
			}
		})
	}
}
