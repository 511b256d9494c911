package clientcmd_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestInterruptDuringRollingRestart checks that an interrupted command reports that
// the controller continues the restart.
func TestInterruptDuringRollingRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := zeekapi.Job{Number: 7, Started: time.Now(), Now: []string{"a"}, Next: []string{"b"}}
		controller := newController(t, func(m zeekapi.Message) zeekapi.Message {
			id := zeekapi.ReqID{ID: m.RequestID()}
			switch m.(type) {
			case zeekapi.EventsRequest:
				return zeekapi.EventsResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: broker.Vector()}}
			case zeekapi.RollingRestartRequest:
				return zeekapi.RollingRestartResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, job)}}
			case zeekapi.StatusRequest:
				return zeekapi.StatusResponse{ReqID: id, Result: zeekapi.Result{Success: true, Data: marshal(t, zeekapi.Status{Job: &job})}}
			}
			t.Errorf("unexpected %T", m)
			return nil
		})
		stdout, stderr := interruptAfterMinute(t, controller, "rolling-restart")
		if !strings.Contains(stderr, "the controller continues rolling restart 7") {
			t.Errorf("stderr %q, want that the restart continues", stderr)
		}
		if stdout != "" {
			t.Errorf("stdout %q, want none", stdout)
		}
	})
}
