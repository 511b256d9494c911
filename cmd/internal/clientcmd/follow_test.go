package clientcmd_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// slowCluster is a controller whose deployments outlast the request.
type slowCluster struct {
	t       *testing.T
	history [][]zeekapi.Deployment // responses in order; the last one is repeated
	refuse  bool                   // the history is not for this client
	silent  bool                   // does not answer when asked for the history
	status  zeekapi.Status
	asked   int
}

func (s *slowCluster) respond(m zeekapi.Message) zeekapi.Message {
	id := zeekapi.ReqID{ID: m.RequestID()}
	data := func(v any) zeekapi.Result { return zeekapi.Result{Success: true, Data: marshal(s.t, v)} }
	results := []zeekapi.Result{
		{Success: true, Instance: "b", Data: broker.String("its nodes are not checked")},
		{Error: zeekapi.ErrorTimeout}, {Error: "the deployment " + zeekapi.ErrorContinues + ", waiting for a"},
	}
	switch m.(type) {
	case zeekapi.EventsRequest:
		return zeekapi.EventsResponse{ReqID: id, Result: data([]zeekapi.ClusterEvent{})}
	case zeekapi.GetConfigurationRequest:
		return zeekapi.GetConfigurationResponse{ReqID: id, Result: data(zeekapi.Configuration{ID: "c"})}
	case zeekapi.DeployStagedRequest:
		return zeekapi.DeployStagedResponse{ReqID: id, Results: results}
	case zeekapi.GetPastRequest:
		return zeekapi.GetPastResponse{ReqID: id, Result: zeekapi.Result{Error: "not known"}}
	case zeekapi.RollbackRequest:
		return zeekapi.RollbackResponse{ReqID: id, Results: results}
	case zeekapi.StatusRequest:
		return zeekapi.StatusResponse{ReqID: id, Result: data(s.status)}
	case zeekapi.HistoryRequest:
		if s.silent {
			return nil
		}
		if s.refuse {
			return zeekapi.HistoryResponse{ReqID: id, Result: zeekapi.Result{Error: "not permitted"}}
		}
		h := s.history[min(s.asked, len(s.history)-1)]
		s.asked++
		return zeekapi.HistoryResponse{ReqID: id, Result: data(h)}
	}
	s.t.Errorf("unexpected %T", m)
	return nil
}

// TestFollow checks what a command shows of a deployment that outlasts its request.
func TestFollow(t *testing.T) {
	entry := func(number uint64, o zeekapi.Outcome, errs ...string) []zeekapi.Deployment {
		return []zeekapi.Deployment{{Number: number, Config: "c", Outcome: o, Errors: errs}}
	}
	pending := entry(7, zeekapi.OutcomePending)
	node := func(name string, state zeekapi.State, problem string) zeekapi.NodeDetail {
		return zeekapi.NodeDetail{Status: zeekapi.NodeStatus{Node: name, State: state, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker}, LastError: problem}
	}
	status := zeekapi.Status{Instances: []zeekapi.InstanceStatus{
		{Instance: zeekapi.Instance{Name: "a"}, Wanted: true, Nodes: []zeekapi.NodeDetail{node("n", zeekapi.StateRunning, ""), node("w", zeekapi.StateFailed, "it fails")}},
		{Instance: zeekapi.Instance{Name: "old"}, Nodes: []zeekapi.NodeDetail{node("o", zeekapi.StateRunning, "")}},
	}}
	const first = "error: request timed out\nerror: the deployment goes on, waiting for a\nb: its nodes are not checked\n"
	const remark = "b: its nodes are not checked\n"
	table := "INSTANCE  NODE  RESULT\na         n     ok\na         w     failed\n"
	for _, test := range []struct {
		name, args, stdout, stderr string
		history                    [][]zeekapi.Deployment
		refuse, silent             bool
		exit                       int
	}{
		{
			name: "no waiting", args: "deploy --wait 0", stdout: first, exit: 1,
		},
		{
			name: "deployed", history: [][]zeekapi.Deployment{pending, pending, entry(7, zeekapi.OutcomeDeployed)},
			stdout: table + remark + "Deployed configuration c.\n",
		},
		{
			name: "ended at once", history: [][]zeekapi.Deployment{entry(7, zeekapi.OutcomeDeployed)},
			stdout: table + remark + "Deployed configuration c.\n",
		},
		{
			name: "failed", history: [][]zeekapi.Deployment{pending, entry(7, zeekapi.OutcomeFailed, "a: w: still starting")}, exit: 1,
			stdout: table + "error: a: w: still starting\n" + remark + "Deployed configuration c, but not all is well.\n",
			stderr: "hint: nodes have taken longer to start than the controller allows; raise its setting start-limit\n",
		},
		{
			name: "rolled back", history: [][]zeekapi.Deployment{pending, entry(7, zeekapi.OutcomeRolledBack, "rolled back to deployment 6: w on a: it fails")}, exit: 1,
			stdout: "error: rolled back to deployment 6: w on a: it fails\n" + remark,
		},
		{
			name: "refused", history: [][]zeekapi.Deployment{pending, entry(7, zeekapi.OutcomeRefused, "w: it fails", zeekapi.ErrorRefused)}, exit: 1,
			stdout: "error: w: it fails\nerror: the deployment is refused, nothing has changed\n" + remark,
			stderr: "hint: --partial deploys what passes the check, --force skips the check\n",
		},
		{
			name: "superseded", history: [][]zeekapi.Deployment{pending, append(entry(8, zeekapi.OutcomeDeployed), entry(7, zeekapi.OutcomeSuperseded)...)}, exit: 1,
			stdout: "error: a newer deployment has taken its place\n" + remark,
		},
		{
			name: "lost", history: [][]zeekapi.Deployment{pending, entry(7, zeekapi.OutcomeLost)}, exit: 1,
			stdout: "error: the controller ended before the deployment, see status\n" + remark,
		},
		{
			name: "forgotten", history: [][]zeekapi.Deployment{pending, entry(8, zeekapi.OutcomeDeployed)}, exit: 1,
			stderr: "error: stopped waiting; the controller continues the deployment, see history\nerror: deployment 7 is no longer in the history\n",
		},
		{
			name: "always pending", args: "rollback 6 --wait 5m", history: [][]zeekapi.Deployment{pending}, exit: 1,
			stdout: strings.Replace(first, "b:", "error: deployment 7 is still pending after 5m0s; see status, or wait longer with --wait\nb:", 1),
		},
		{
			name: "another configuration", history: [][]zeekapi.Deployment{{{Number: 8, Config: "other", Outcome: zeekapi.OutcomePending}}}, exit: 1, stdout: first,
		},
		{
			name: "no permission to see the history", refuse: true, exit: 1, stdout: first,
		},
		{
			name: "no response", silent: true, exit: 1,
			stderr: "error: stopped waiting; the controller continues the deployment, see history\n" +
				"error: no response received: websocket connection to 127.0.0.1:2149 timed out\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowCluster{t: t, history: test.history, refuse: test.refuse, silent: test.silent, status: status}
				tool := respondingTool(t, s.respond)
				tool.Extended = true
				args := strings.Fields(test.args)
				if len(args) == 0 {
					args = []string{"deploy"}
				}
				runCommand(t, tool, "", append(args, "--json=false")...).want(t, outcome{test.stdout, test.stderr, test.exit})
			})
		})
	}
}

// TestInterruptDuringFollow checks that an interrupted command reports that the
// controller continues.
func TestInterruptDuringFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowCluster{t: t, history: [][]zeekapi.Deployment{{{Number: 7, Config: "c", Outcome: zeekapi.OutcomePending}}}}
		stdout, stderr := interruptAfterMinute(t, newController(t, s.respond), "deploy")
		if stderr != "error: stopped waiting; the controller continues the request, see status\n" || stdout != "" {
			t.Errorf("standard error %q", stderr)
		}
	})
}

// TestFollowedByEvents checks that an event ends the waiting at once.
func TestFollowedByEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pending := []zeekapi.Deployment{{Number: 7, Config: "c", Outcome: zeekapi.OutcomePending}}
		s := &slowCluster{t: t, history: [][]zeekapi.Deployment{pending, {{Number: 7, Config: "c", Outcome: zeekapi.OutcomeDeployed}}}}
		controller := newController(t, s.respond)
		time.AfterFunc(300*time.Millisecond, func() {
			if err := controller.Say(t.Context(), zeekapi.EventReport{Event: zeekapi.ClusterEvent{Number: 1, Kind: zeekapi.EventDeployed, Time: time.Now()}}); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		got := runCommand(t, &clientcmd.Tool{Extended: true, Dial: inProcess(controller)}, "", "deploy")
		if took := time.Since(began); got.exit != 0 || took != 300*time.Millisecond {
			t.Errorf("ended after %s: %+v", took, got)
		}
	})
}
