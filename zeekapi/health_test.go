package zeekapi_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestTroubles judges clusters by what runs. A deployment that did not succeed at once
// does not count if its configuration runs.
func TestTroubles(t *testing.T) {
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
		if got := len(cluster(test.outcome, test.deployed, test.state).Troubles()) == 0; got != test.want {
			t.Errorf("%v: %t", test, got)
		}
	}
	away := cluster(zeekapi.OutcomeDeployed, "c", zeekapi.StateRunning)
	away.Instances[0].Connected = false
	if len(away.Troubles()) == 0 {
		t.Error("an agent is missing, but the cluster is healthy")
	}
	contested := cluster(zeekapi.OutcomeDeployed, "c", zeekapi.StateRunning)
	contested.Instances[0].Refused = []string{"10.0.0.9:40000"}
	if len(contested.Troubles()) == 0 {
		t.Error("an agent is refused, but the cluster is healthy")
	}
	stopped := cluster(zeekapi.OutcomeDeployed, "c", zeekapi.StateStopped)
	stopped.Instances[0].Nodes[0].StoppedBy = "alice"
	if got := stopped.Troubles(); len(got) > 0 {
		t.Errorf("a node that a client stopped is a trouble: %v", got)
	}
	full := cluster(zeekapi.OutcomeDeployed, "c", zeekapi.StateRunning)
	full.Storage = "no space left on device"
	if len(full.Troubles()) != 1 {
		t.Error("changes cannot be stored, but the cluster is healthy")
	}
}
