package clientcmd

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestHealthy judges clusters by what runs. A deployment that did not succeed at once
// does not count if its configuration runs.
func TestHealthy(t *testing.T) {
	cluster := func(o zeekapi.Outcome, deployed string, state zeekapi.State) zeekapi.Status {
		return zeekapi.Status{
			Deployed: deployed, Target: "c", Last: &zeekapi.Deployment{Outcome: o},
			Instances: []zeekapi.InstanceStatus{{Wanted: true, Connected: true, Nodes: []zeekapi.NodeDetail{{Status: zeekapi.NodeStatus{State: state}}}}},
		}
	}
	for _, test := range []struct {
		outcome  zeekapi.Outcome
		deployed string
		state    zeekapi.State
		want     bool
	}{
		{zeekapi.OutcomeDeployed, "c", zeekapi.StateRunning, true},
		{zeekapi.OutcomeDeployed, "c", zeekapi.StateFailed, false},
		{zeekapi.OutcomePending, "b", zeekapi.StateRunning, true},
		{zeekapi.OutcomePending, "b", zeekapi.StatePending, false},
		{zeekapi.OutcomeTimeout, "b", zeekapi.StateRunning, false},
		{zeekapi.OutcomeTimeout, "c", zeekapi.StateRunning, true},
		{zeekapi.OutcomeFailed, "c", zeekapi.StateRunning, true},
		{zeekapi.OutcomeRefused, "c", zeekapi.StateRunning, true},
		{zeekapi.OutcomeRolledBack, "c", zeekapi.StateRunning, false},
	} {
		if got := healthy(cluster(test.outcome, test.deployed, test.state)); got != test.want {
			t.Errorf("%v: %t", test, got)
		}
	}
	away := cluster(zeekapi.OutcomeDeployed, "c", zeekapi.StateRunning)
	away.Instances[0].Connected = false
	if healthy(away) {
		t.Error("an agent is missing, but the cluster is healthy")
	}
}
