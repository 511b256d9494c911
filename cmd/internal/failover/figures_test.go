package failover

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
)

var figures = flag.Int("failover.figures", 0, "number of agents of TestFigures; 0: it is skipped")

// TestFigures measures, and checks only that everything works: deployments in succession with
// a file and with etcd, and the take-over of many agents.
func TestFigures(t *testing.T) {
	if *figures == 0 {
		t.Skip("measures, with -failover.figures")
	}
	for _, n := range []int{1, 20} {
		for _, store := range []string{"file", "etcd"} {
			t.Run(fmt.Sprintf("deployments/%d agents/%s", n, store), func(t *testing.T) { measureDeployments(t, store, n) })
		}
	}
	t.Run("take-over", func(t *testing.T) { measureTakeover(t, *figures) })
}

// direct returns a world with controllers that the agents reach without proxies.
func direct(t *testing.T) *world {
	t.Helper()
	return &world{t: t, dir: t.TempDir(), watch: newWatch(t), program: testbinary.Path(t), direct: true, peers: &peers{}}
}

// measureDeployments counts the deployments that one client makes, one after the other.
func measureDeployments(t *testing.T, store string, agents int) {
	w := direct(t)
	var native []string
	if store == "file" {
		w.etcd = new(etcdtest.Cluster)
		native = append(native, w.runController(0))
	} else {
		w.etcd = etcdtest.Start(t, members)
		native = append(native, w.startController(0))
	}
	for i := range agents {
		w.startAgent(i, native)
	}
	const period = 10 * time.Second
	var times []time.Duration
	w.eventually("deploying", func(ctx context.Context, v *visitor) error {
		if err := w.deployLast(ctx, v, "first", agents); err != nil {
			return err
		}
		times = nil
		for began := time.Now(); time.Since(began) < period; {
			one := time.Now()
			if err := w.deployLast(ctx, v, fmt.Sprint("c", len(times)), agents); err != nil {
				return err
			}
			times = append(times, time.Since(one))
		}
		return nil
	})
	slices.Sort(times)
	t.Logf("%s, %d agents: %.1f deployments/s; upload and deployment: median %s, 99 %% within %s", store, agents,
		float64(len(times))/period.Seconds(), times[len(times)/2].Round(100*time.Microsecond), times[len(times)*99/100].Round(100*time.Microsecond))
}

// measureTakeover kills the leader of three controllers with many agents.
func measureTakeover(t *testing.T, agents int) {
	w := direct(t)
	w.etcd = etcdtest.Start(t, members)
	var native []string
	for i := range members {
		native = append(native, w.startController(i))
	}
	for i := range agents {
		w.startAgent(i, native)
	}
	w.settle(agents, "first")
	for i := range 5 {
		leader, known := w.leader()
		if !known {
			t.Fatal("no leader")
		}
		term := w.watch.greatest()
		memory := w.memory()
		at := time.Now()
		w.controllers[leader].Kill()
		for w.watch.obeying(term) < agents && time.Since(at) < patience {
			time.Sleep(5 * time.Millisecond)
		}
		all := time.Since(at)
		w.eventually("deploying", func(ctx context.Context, v *visitor) error {
			if _, err := v.SeekLeader(ctx); err != nil {
				return err
			}
			return w.deployLast(ctx, v, fmt.Sprint("t", i), agents)
		})
		t.Logf("%d agents, lease %s: the first agent obeys the next leader after %s, all after %s, a deployment has succeeded after %s; memory of the controllers before: %s, c%d led",
			agents, lease, w.watch.after(term).Sub(at).Round(time.Millisecond), all.Round(time.Millisecond), time.Since(at).Round(time.Millisecond), memory, leader)
		w.controllers[leader].Start()
		w.settle(agents, fmt.Sprint("s", i))
	}
}

var resident = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// memory returns the resident memory of the controllers.
func (w *world) memory() (all []string) {
	w.t.Helper()
	for _, c := range w.controllers {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
		m := resident.FindSubmatch(text)
		if err != nil || m == nil {
			w.t.Fatal("no memory: ", err)
		}
		kB, _ := strconv.Atoi(string(m[1]))
		all = append(all, fmt.Sprintf("%d MiB", kB>>10))
	}
	return all
}
