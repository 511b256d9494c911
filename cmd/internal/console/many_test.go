package console

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// many makes the controller report a number of machines with four nodes each.
func (l *lab) many(n int) {
	s := zeekapi.Status{Controller: zeekapi.Process{Name: "controller", Version: "zeekwire", Started: time.Now()}, Target: "c", Deployed: "c"}
	for k := range n {
		i := zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: fmt.Sprintf("sensor-%04d", k+1)}, Connected: k%97 != 5, Wanted: true, Ready: true, Since: time.Now()}
		for w := range 4 {
			d := zeekapi.NodeDetail{
				Status: zeekapi.NodeStatus{Node: fmt.Sprintf("worker-%04d-%d", k+1, w+1), State: zeekapi.StateRunning, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker, PID: 1},
				Since:  time.Now(), Interface: "af_packet::ens1f0",
			}
			measure(&d, float64(k+w), float64(w))
			i.Nodes = append(i.Nodes, d)
		}
		s.Instances = append(s.Instances, i)
	}
	fresh := newCharts()
	for k := range slots {
		at := cloned(s)
		for j := range at.Instances {
			for w := range at.Instances[j].Nodes {
				measure(&at.Instances[j].Nodes[w], float64(j+w), float64(k))
			}
		}
		fresh.add(time.Now().Add(time.Duration(k-slots+1)*slotTime), at)
	}
	l.console.watch.charts.replace(fresh)
	fake.Handle(l.controller, zeekapi.StatusCall, func(context.Context, zeekapi.StatusRequest) ([]zeekapi.Result, error) {
		return fake.Success(s), nil
	})
	l.await(func(s snapshot) bool { return len(s.Status.Instances) == n })
}

// TestWeight limits the size of the first page, with all files that it needs.
func TestWeight(t *testing.T) {
	l := sample(t, access.Full)
	l.many(1000)
	for _, path := range []string{"/", "/topology", "/?show=problems"} {
		began := time.Now()
		weight := len(l.get(path))
		took := time.Since(began)
		for _, a := range assets() {
			weight += len(a.data)
		}
		t.Logf("%s with 1000 machines: %d bytes in %s", path, weight, took)
		if weight > 150_000 {
			t.Errorf("%s has %d bytes, want 150000 at most", path, weight)
		}
	}
}
