package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/cmd/internal/testprocess"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// lease is the time after which another controller leads.
const lease = 2 * time.Second

// electionTimeout is the one of etcd.
const electionTimeout = time.Second

// members is the number of controllers, and that of the members of etcd.
const members = 3

// world is what a test runs: members of etcd, controllers and agents, and the proxies of
// all connections between them.
type world struct {
	t   *testing.T
	dir string

	etcd        *etcdtest.Cluster
	controllers []*testprocess.Process
	watch       *watch
	observer    *observer
	program     string               // of the controllers, and of agents that are processes
	stepped     *testprocess.Process // the last agent, whose clock steps; nil: it is like the others
	pid         int64                // of that agent's constant node; 0: not known yet
	direct      bool                 // agents connect to controllers without proxies

	peers    *peers     // between the members of etcd
	disks    []*disk    // of the members of etcd; none: not available
	toEtcd   [][]*proxy // by controller and member
	toAgents [][]*proxy // by agent and controller
	clients  []*proxy   // by controller
}

// newWorld starts everything. It skips the test if there is no etcd.
func newWorld(t *testing.T, agents int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), watch: newWatch(t), peers: &peers{}, program: buildStepped(t)}
	w.etcd = w.startEtcd()
	w.identify()
	w.observer = observe(t, w.etcd.Endpoints())
	var native []string
	for i := range members {
		native = append(native, w.startController(i))
	}
	for i := range agents - 1 {
		w.startAgent(i, native)
	}
	w.startStepped(agents-1, native)
	return w
}

// startEtcd starts the members of etcd, with proxies between them, and slow disks.
func (w *world) startEtcd() *etcdtest.Cluster {
	w.t.Helper()
	o := etcdtest.Options{
		Flags: []string{"--heartbeat-interval", "100", "--election-timeout", fmt.Sprint(electionTimeout.Milliseconds()), "--logger", "zap", "--log-level", "info"},
		Peer: func(_ int, address string) string {
			p := newPeerProxy(w.t, address)
			w.peers.all = append(w.peers.all, p)
			return p.address()
		},
	}
	if slowDisks() {
		o.Wrap = func(i int, argv []string) (wrapped, env []string) {
			d, wrapped, env := newDisk(w.t, w.dir, fmt.Sprint("m", i), argv)
			w.disks = append(w.disks, d)
			return wrapped, env
		}
	}
	return etcdtest.StartWith(w.t, members, o)
}

// startController starts a controller, and returns its address for agents.
func (w *world) startController(i int) string {
	w.t.Helper()
	var endpoints []string
	var proxies []*proxy
	for _, e := range w.etcd.Endpoints() {
		p := newProxy(w.t, e)
		proxies, endpoints = append(proxies, p), append(endpoints, p.address())
	}
	w.toEtcd = append(w.toEtcd, proxies)
	return w.runController(i, "--store", "etcd", "--etcd-endpoints", strings.Join(endpoints, ","), "--etcd-lease", lease.String())
}

// runController starts a controller with a store, and returns its address for agents.
func (w *world) runController(i int, store ...string) string {
	w.t.Helper()
	native, web := peertest.FreeAddress(w.t), peertest.FreeAddress(w.t)
	w.clients = append(w.clients, newProxy(w.t, web))
	name := fmt.Sprint("c", i)
	w.controllers = append(w.controllers, testprocess.Start(w.t, w.dir, name, []string{clockFile + "=" + w.clock(i)}, append([]string{
		w.program, "controller", "--name", name, "--state-dir", filepath.Join(w.dir, name), "--tls", "off",
		"--listen", native, "--websocket-listen", web, "--request-timeout-interval", "5s",
		"--advertise-clients", w.clients[i].address(), "--advertise-agents", native,
	}, store...)...))
	return native
}

// processes returns the members of etcd, the controllers, and the agent whose clock steps.
func (w *world) processes() []*testprocess.Process {
	all := slices.Concat(w.etcd.Members, w.controllers)
	if w.stepped != nil {
		all = append(all, w.stepped)
	}
	return all
}

// heal makes everything work again. No process may have ended by itself.
func (w *world) heal() {
	w.t.Helper()
	w.checkProcesses()
	for _, p := range w.processes() {
		p.Signal(syscall.SIGCONT)
		p.Start()
	}
	for _, d := range w.disks {
		d.slow(0)
	}
	for i := range len(w.controllers) + 1 {
		w.setClock(i, 0)
	}
	w.peers.release()
	for _, all := range append(append([][]*proxy{w.clients}, w.toEtcd...), w.toAgents...) {
		for _, p := range all {
			p.release()
		}
	}
}

// checkProcesses ends the test if a process has ended by itself.
func (w *world) checkProcesses() {
	w.t.Helper()
	for _, p := range w.processes() {
		if p.Ended() {
			w.t.Fatalf("%s has ended by itself", p.Name)
		}
	}
}

func TestMain(m *testing.M) {
	becomeSlow()
	os.Exit(testbinary.Main(m.Run))
}
