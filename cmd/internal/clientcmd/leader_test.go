package clientcmd_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// council is a set of controllers, by address, of which one leads.
type council struct {
	t       *testing.T
	members map[string]*fake.Controller

	mu      sync.Mutex
	leader  string // address, "" if none leads
	secret  bool   // the controllers do not know the address of the leader
	down    map[string]bool
	dialled []string
	job     zeekapi.Job
}

func newCouncil(t *testing.T, addresses ...string) *council {
	c := &council{t: t, members: make(map[string]*fake.Controller), down: make(map[string]bool)}
	for _, a := range addresses {
		c.members[a] = newController(t, func(msg zeekapi.Message) zeekapi.Message { return c.respond(a, msg) })
	}
	return c
}

// respond answers a request at a controller.
func (c *council) respond(at string, msg zeekapi.Message) zeekapi.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	leader := zeekapi.ControllerMember{Name: c.leader, Clients: c.leader, Leads: true}
	if c.secret {
		leader.Clients = ""
	}
	result := zeekapi.Result{Success: true}
	switch msg.(type) {
	case zeekapi.EventsRequest:
		result.Data = marshal(c.t, []zeekapi.ClusterEvent{{Number: 1, Kind: zeekapi.EventConnected, Text: "told by " + at}})
	case zeekapi.ControllersRequest:
		all := zeekapi.Controllers{Leads: at == c.leader, Term: 7, AsOf: time.Date(2026, 11, 1, 0, 0, 0, 0, time.Local)}
		if c.leader != "" {
			all.Members = []zeekapi.ControllerMember{leader}
		}
		result.Data = marshal(c.t, all)
	case zeekapi.StatusRequest:
		job := c.job
		result.Data = marshal(c.t, zeekapi.Status{Job: &job})
	case zeekapi.RollingRestartRequest:
		if at != c.leader {
			break
		}
		c.job = zeekapi.Job{Number: 3, Started: time.Unix(1, 0), Now: []string{"w"}}
		result.Data = marshal(c.t, c.job)
	case zeekapi.StopRequest:
		result.Node, result.Instance = "w", at
	}
	request := zeekapi.RequestOf(msg)
	reads := request == zeekapi.EventsCall.Request || request == zeekapi.ControllersCall.Request || request == zeekapi.StatusCall.Request
	if at != c.leader && !reads {
		result = zeekapi.Failure("", "this controller stands by")
		result.Data = marshal(c.t, zeekapi.NotLeader{Leader: leader, Term: 7})
	}
	return request.Respond(msg.RequestID(), result)
}

// dial connects to the controller at an address, unless it is down.
func (c *council) dial(ctx context.Context, o connect.Options) (*connect.Connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dialled = append(c.dialled, o.Address)
	if c.members[o.Address] == nil || c.down[o.Address] {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	return inProcess(c.members[o.Address])(ctx, o)
}

// fail makes a controller end.
func (c *council) fail(at, leader string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[at], c.leader = true, leader
	go c.members[at].Close()
}

func (c *council) run(args ...string) outcome {
	return runCommand(c.t, &clientcmd.Tool{Extended: true, Dial: c.dial}, "", args...)
}

func (c *council) wantDialled(want ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.dialled, want) {
		c.t.Errorf("dialled %q, want %q", c.dialled, want)
	}
	c.dialled = nil
}

// Of several controllers, commands use the leader, also those that any controller could
// answer.
func TestSeveralControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, "a:1", "b:2149", "[::1]:3")
		c.leader = "[::1]:3"
		got := c.run("events", "--controller", "a:1, b, [::1]:3", "--json=false")
		if got.exit != 0 || !strings.Contains(got.stdout, "told by [::1]:3") {
			t.Errorf("%+v", got)
		}
		c.wantDialled("a:1", "[::1]:3")

		c.down["a:1"] = true
		c.leader = "b:2149"
		got = c.run("events", "--set", "controller.addresses=a:1,b", "--json=false")
		if got.exit != 0 || !strings.Contains(got.stdout, "told by b:2149") {
			t.Errorf("%+v", got)
		}
		c.wantDialled("a:1", "b:2149")

		got = c.run("events", "--set", "controller.addresses=a:1,b", "--controller", "[::1]:3", "--json=false")
		if got.exit != 0 || !strings.Contains(got.stdout, "told by [::1]:3") {
			t.Errorf("the flag does not override the setting: %+v", got)
		}
		c.wantDialled("[::1]:3")

		c.leader, c.dialled = "", nil
		got = c.run("events", "--controller", "b,[::1]:3", "--json=false")
		if got.exit != 0 || !strings.Contains(got.stdout, "told by") || !strings.Contains(got.stderr, "shows the state as of 2026-11-01 00:00:00") {
			t.Errorf("without a leader: %+v", got)
		}
	})
}

// A single address may be that of any controller: a refusal leads to the leader. The
// address of the leader must be known.
func TestOneOfSeveralControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, "a:1", "b:2")
		c.leader = "b:2"
		got := c.run("stop", "w", "--controller", "a:1", "--json")
		if got.exit != 0 || !strings.Contains(got.stdout, "b:2") {
			t.Errorf("%+v", got)
		}
		c.wantDialled("a:1", "b:2")
		c.secret = true
		got = c.run("stop", "w", "--controller", "a:1")
		if got.exit != 1 || !strings.Contains(got.stderr+got.stdout, "stands by") {
			t.Errorf("%+v", got)
		}
		c.wantDialled("a:1")
		if got = c.run("stop", "w", "--controller", "a:1,c:3,b:2", "--json"); got.exit != 0 || !strings.Contains(got.stdout, "b:2") {
			t.Errorf("%+v", got)
		}
	})
}

// A token does not go to a leader without TLS, unless it is on this machine.
func TestTokenStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, "127.0.0.1:1", "elsewhere:2")
		c.leader = "elsewhere:2"
		got := c.run("stop", "w", "--controller", "127.0.0.1:1", "--set", "client.token=secret")
		if got.exit != 1 || !strings.Contains(got.stderr, "cannot follow the leader to elsewhere:2: the token would travel in the clear") {
			t.Errorf("%+v", got)
		}
		c.wantDialled("127.0.0.1:1")
	})
}

// A command that waits for a job continues at the next leader.
func TestJobContinuesUnderTheNextLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCouncil(t, "a:1", "b:2", "c:3")
		c.leader = "a:1"
		time.AfterFunc(5*time.Second, func() { c.fail("a:1", "") })
		time.AfterFunc(12*time.Second, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.leader = "c:3"
			c.job = zeekapi.Job{Number: 3, Started: time.Unix(1, 0), Done: []string{"w"}, Ended: time.Unix(2, 0)}
		})
		c.run("rolling-restart", "--controller", "a:1,b:2,c:3", "--json=false").want(t, outcome{
			"Restarted: w\n", reconnecting + "rolling restart 3 continues\n", 0,
		})
	})
}

// The addresses of several controllers must be valid, and are errors in the same words
// as a single one.
func TestAddressesOfControllers(t *testing.T) {
	c := newCouncil(t)
	for _, test := range []struct{ flag, set, want string }{
		{flag: "a:1,", want: "has no host"},
		{flag: "a:1,:2", want: "has no host"},
		{flag: "a:1,b:x", want: `port "x"`},
		{flag: "a,http://b", want: "b"},
		{set: "controller.addresses=a:99999", want: "99999"},
	} {
		args := []string{"events"}
		if test.flag != "" {
			args = append(args, "--controller", test.flag)
		}
		if test.set != "" {
			args = append(args, "--set", test.set)
		}
		if got := c.run(args...); got.exit == 0 || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v", args, got)
		}
	}
	got := c.run("events", "--controller", "a:1,b", "--set", "client.peering_attempts=1")
	if got.exit != 1 || !strings.Contains(got.stderr, "websocket connection to a:1, b:2149 timed out in connect()") {
		t.Errorf("%+v", got)
	}
}
