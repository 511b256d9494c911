package controller_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// The log names the client of each change, and its outcome.
func TestLogNamesClientAndOutcome(t *testing.T) {
	b, peers := deployedBench(t, config("c1", "a", "b"))
	// do sends a request of alice. The agents respond with success, except that a
	// deployment on b fails.
	do := func(request zeekapi.Message) {
		outputs := b.machine.Step(b.now, controller.FromClient{Peer: alice, Message: request})
		for len(outputs) > 0 {
			o := outputs[0]
			outputs = outputs[1:]
			b.take([]controller.Output{o})
			to, ok := o.(controller.ToAgent)
			if !ok {
				continue
			}
			answer := answerTo(to)
			if msg, ok := to.Message.(zeekapi.AgentDeployRequest); ok && to.Instance == "b" {
				answer = agentDeployed(msg.ID, zeekapi.Result{Instance: "b", Node: "wb", Error: "no such script"})
			}
			outputs = append(outputs, b.machine.Step(b.now, controller.FromAgent{Peer: peers[to.Instance], Message: answer})...)
		}
	}
	const by = `{"level":"info","by":"alice at 10.0.0.1",`
	for _, tt := range []struct {
		name    string
		request zeekapi.Message
		want    []string
	}{
		{"stage", stage("r1", config("c2", "a", "b")), []string{by + `"request":"r1","config":"c2","message":"staged"}`}},
		{"deploy", deploy("r2"), []string{
			by + `"request":"r2","config":"c2","action":"deploy","message":"deploying"}`,
			`{"level":"warn","errors":"b: wb: no such script","by":"alice at 10.0.0.1","config":"c2","outcome":"failed","message":"deployment ended"}`,
		}},
		{"force", zeekapi.DeployStagedRequest{ReqID: reqID("r3"), DeployOptions: zeekapi.DeployOptions{Force: true}}, []string{by + `"request":"r3","config":"c2","action":"force","message":"deploying"}`}},
		{"set", set("r4", config("c3", "a")), []string{
			by + `"request":"r4","config":"c3","message":"staged"}`,
			by + `"request":"r4","config":"c3","action":"set-configuration","message":"deploying"}`,
			by + `"config":"c3","outcome":"deployed","message":"deployment ended"}`,
		}},
		{"rollback", zeekapi.RollbackRequest{ReqID: reqID("r5"), Number: 1}, []string{by + `"request":"r5","config":"c1","action":"rollback","message":"deploying"}`}},
		{"restart", restart("r6"), []string{by + `"request":"r6","nodes":"all","message":"restarting nodes"}`}},
		{"restart of two nodes", restart("r7", "wb", "wa"), []string{by + `"request":"r7","nodes":"wb, wa","message":"restarting nodes"}`}},
		{"rolling restart", zeekapi.RollingRestartRequest{ReqID: reqID("r8")}, []string{by + `"job":1,"nodes":"wa, wb","message":"rolling restart"}`}},
		{"cancel", zeekapi.CancelJobRequest{ReqID: reqID("r9")}, []string{by + `"job":1,"message":"cancelling the job"}`}},
		{"drain", zeekapi.DrainRequest{ReqID: reqID("r10"), Instance: "b", Drain: true}, []string{by + `"instance":"b","message":"draining the instance"}`}},
		{"undrain", zeekapi.DrainRequest{ReqID: reqID("r11"), Instance: "b"}, []string{by + `"instance":"b","message":"undraining the instance"}`}},
	} {
		b.log.take()
		do(tt.request)
		log := b.log.take()
		for _, line := range tt.want {
			if !slices.Contains(log, line) {
				t.Errorf("%s: missing log line\n%s\ngot\n%s", tt.name, line, strings.Join(log, "\n"))
			}
		}
	}
}
