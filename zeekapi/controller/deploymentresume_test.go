package controller_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// interruptedDeployment returns a bench with a controller that was killed while it
// deployed c2 after c1, and its agents, which are ours and come back next.
func interruptedDeployment(t *testing.T, o zeekapi.DeployOptions) *bench {
	t.Helper()
	b, peers := deployedBench(t, config("c1", "a", "b"))
	for _, name := range []string{"a", "b"} {
		b.describeAgent(peers[name], name)
	}
	b.client(stage("s", config("c2", "a", "b")), "save staged c2", "save ready c2", "answer StageConfigurationResponse s [T = c2]")
	b.ids = 0
	b.client(zeekapi.DeployStagedRequest{ReqID: reqID("d"), DeployOptions: o}, "to a: AgentCheckRequest #1 c2", "to b: AgentCheckRequest #2 c2")
	b.agent(peers["a"], checked("#1"))
	b.agent(peers["b"], checked("#2"), "save target c2", "to a: AgentDeployNodesRequest #3 c2", "to b: AgentDeployNodesRequest #4 c2")
	b.agent(peers["a"], agentDeployed("#3", success("a", "wa")))
	b = b.again()
	b.start()
	return b
}

// describeAgent makes an agent one of ours.
func (b *bench) describeAgent(p broker.Peer, name string) {
	b.t.Helper()
	b.agent(p, zeekapi.AgentDescription{Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision})
}

// back connects the agents again, which answer all requests for deployments with the
// given results, except for those without a node.
func (b *bench) back(results func(instance, config string) zeekapi.Result) {
	b.t.Helper()
	for i, name := range []string{"a", "b"} {
		p := peer(i + 1)
		outputs := b.machine.Step(b.now, controller.FromAgent{Peer: p, Message: hello(name)})
		outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: p, Message: zeekapi.AgentDescription{
			Instance: name, LayoutForm: zeekapi.LayoutForm, Revision: zeekapi.AgentRevision,
		}})...)
		for len(outputs) > 0 {
			b.take(outputs[:1])
			to, ok := outputs[0].(controller.ToAgent)
			outputs = outputs[1:]
			if !ok {
				continue
			}
			answer := answerTo(to)
			if msg, ok := to.Message.(zeekapi.AgentDeployNodesRequest); ok {
				result := results(to.Instance, msg.Config)
				if result.Node == "" {
					continue
				}
				answer = agentDeployed(msg.ID, result)
			}
			from := peer(1)
			if to.Instance == "b" {
				from = peer(2)
			}
			outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: from, Message: answer})...)
			if err := b.machine.Check(); err != nil {
				b.t.Error(err)
			}
		}
	}
}

func allRun(instance, _ string) zeekapi.Result { return success(instance, "w"+instance) }

// TestResumedDeployment kills the controller during the second phase of a deployment.
func TestResumedDeployment(t *testing.T) {
	t.Run("to its end", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{})
		want(t, "while the agents are away", []string{"2 deploy c2 by unknown: pending", "1 deploy c1 by unknown: deployed"}, b.history(0))
		b.back(allRun)
		want(t, "history", []string{"2 deploy c2 by unknown: deployed"}, b.history(1))
	})
	t.Run("that is rolled back", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{})
		b.back(func(instance, config string) zeekapi.Result {
			if instance == "b" && config == "c2" {
				return problem("wb", "died")
			}
			return allRun(instance, config)
		})
		want(t, "history", []string{"2 deploy c2 by unknown: rolled back rolled back to deployment 1: wb on b: died, b: wb: died"}, b.history(1))
		want(t, "target", "c1", b.state.Configs[controller.Target].ID)
	})
	t.Run("with the option not to roll back", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{NoRollback: true})
		b.back(func(instance, config string) zeekapi.Result {
			if instance == "b" && config == "c2" {
				return problem("wb", "died")
			}
			return allRun(instance, config)
		})
		want(t, "history", []string{"2 deploy c2 by unknown: failed b: wb: died"}, b.history(1))
	})
	t.Run("during the rollback", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{})
		b.back(func(instance, config string) zeekapi.Result {
			switch {
			case config == "c1":
				return zeekapi.Result{} // no answer
			case instance == "b":
				return problem("wb", "died")
			}
			return allRun(instance, config)
		})
		want(t, "target", "c1", b.state.Configs[controller.Target].ID)
		b = b.again()
		b.start()
		want(t, "history", []string{"2 deploy c2 by unknown: pending"}, b.history(1))
		b.back(allRun)
		want(t, "history in the end", []string{"2 deploy c2 by unknown: rolled back rolled back to deployment 1: wb on b: died, b: wb: died"}, b.history(1))
	})
	t.Run("while agents stay away", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{})
		for b.state.History[1].Ended.IsZero() {
			b.now, _ = b.machine.Deadline()
			b.take(b.machine.Step(b.now, controller.Tick{}))
		}
		want(t, "outcome", zeekapi.OutcomeTimeout, b.state.History[1].Outcome)
	})
	t.Run("gives way to another one", func(t *testing.T) {
		b := interruptedDeployment(t, zeekapi.DeployOptions{})
		b.client(zeekapi.RollingRestartRequest{ReqID: reqID("j")}, "answer RollingRestartResponse j [F earlier deployment #1 still pending]")
		b.take(b.machine.Step(b.now, controller.FromClient{Message: zeekapi.DeployStagedRequest{ReqID: reqID("d"), DeployOptions: zeekapi.DeployOptions{Force: true}}}))
		want(t, "history", []string{"3 force c2 by unknown: pending", "2 deploy c2 by unknown: superseded"}, b.history(2))
		b.back(allRun)
		want(t, "history in the end", []string{"3 force c2 by unknown: deployed"}, b.history(1))
	})
}

// TestDeploymentLostDuringCheck kills the controller before a deployment has changed
// anything.
func TestDeploymentLostDuringCheck(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a"))
	b.describeAgent(peers["a"], "a")
	b.client(stage("s", config("c2", "a")), "save staged c2", "save ready c2", "answer StageConfigurationResponse s [T = c2]")
	b.ids = 0
	b.client(deploy("d"), "to a: AgentCheckRequest #1 c2")
	b = b.again()
	b.start()
	want(t, "history", []string{"2 deploy c2 by unknown: lost the controller ended before the deployment began; nothing has changed"}, b.history(1))
	want(t, "target", "c1", b.state.Configs[controller.Target].ID)
}
