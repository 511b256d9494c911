package clientcmd_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
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
		ctx, interrupt := context.WithCancel(t.Context())
		root := newRoot(&clientcmd.Tool{Extended: true, Getenv: noEnv, Dial: inProcess(controller)})
		root.SetArgs([]string{"rolling-restart"})
		var out, errs syncBuffer
		root.SetOut(&out)
		root.SetErr(&errs)
		ended := make(chan error)
		go func() { ended <- root.ExecuteContext(ctx) }()
		time.Sleep(time.Minute)
		interrupt()
		if code := clientcmd.ExitCode(<-ended); code != clientcmd.Interrupted {
			t.Errorf("exit code %d, want %d", code, clientcmd.Interrupted)
		}
		if got := errs.take(); !strings.Contains(got, "the controller continues rolling restart 7") {
			t.Errorf("stderr %q, want that the restart continues", got)
		}
		if got := out.take(); got != "" {
			t.Errorf("stdout %q, want none", got)
		}
	})
}
