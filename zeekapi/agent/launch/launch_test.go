package launch_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func node() launch.Node {
	cpu := int64(1)
	return launch.Node{
		Node: zeekapi.Node{
			Name: "w", Instance: "i", Role: zeekapi.RoleWorker, Scripts: []string{"a", "b"},
			Env: map[string]string{"X": "y"}, CPUAffinity: &cpu,
		},
		Layout: "w WORKER - - -\n",
	}
}

func TestEqual(t *testing.T) {
	same := map[string]func(*launch.Node){
		"nothing": func(*launch.Node) {},
		"state":   func(n *launch.Node) { n.State = zeekapi.StateFailed },
		"options": func(n *launch.Node) { n.Options = []zeekapi.Option{{Name: "x"}} },
		"the form of the CPU": func(n *launch.Node) {
			n.CPUAffinity, n.Options = nil, []zeekapi.Option{{Name: zeekapi.OptionCPUAffinity, Value: "1-1"}}
		},
		"copies": func(n *launch.Node) {
			cpu := *n.CPUAffinity
			n.CPUAffinity, n.Scripts = &cpu, slices.Clone(n.Scripts)
		},
	}
	other := map[string]func(*launch.Node){
		"name":              func(n *launch.Node) { n.Name = "x" },
		"instance":          func(n *launch.Node) { n.Instance = "x" },
		"role":              func(n *launch.Node) { n.Role = zeekapi.RoleProxy },
		"port":              func(n *launch.Node) { n.Port = broker.TCP(1) },
		"metrics port":      func(n *launch.Node) { n.MetricsPort = broker.TCP(1) },
		"interface":         func(n *launch.Node) { n.Interface = "x" },
		"order of scripts":  func(n *launch.Node) { n.Scripts = []string{"b", "a"} },
		"environment":       func(n *launch.Node) { n.Env = map[string]string{"X": "z"} },
		"no CPU":            func(n *launch.Node) { n.CPUAffinity = nil },
		"another CPU":       func(n *launch.Node) { cpu := int64(2); n.CPUAffinity = &cpu },
		"several CPUs":      func(n *launch.Node) { n.SetCPUs([]int64{1, 2}) },
		"another member":    func(n *launch.Node) { n.Layout += "x WORKER - - -\n" },
		"a member's change": func(n *launch.Node) { n.Layout = "w WORKER - 7/tcp -\n" },
	}
	for want, changes := range map[bool]map[string]func(*launch.Node){true: same, false: other} {
		for name, change := range changes {
			a, b := node(), node()
			change(&b)
			if a.Equal(b) != want || b.Equal(a) != want {
				t.Errorf("Equal after a change of %s: want %t", name, want)
			}
		}
	}
}

func TestManager(t *testing.T) {
	n := node()
	if got := launch.Manager(n.Members()); got != "" {
		t.Errorf("got %q", got)
	}
	n.Layout = "m MANAGER - 7/tcp -\n" + n.Layout
	if got := launch.Manager(n.Members()); got != "m" {
		t.Errorf("got %q", got)
	}
}

func TestEvents(t *testing.T) {
	var e launch.Events
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with a canceled context: %v", err)
	}

	got := make(chan launch.Event)
	go func() {
		for {
			ev, err := e.Next(t.Context())
			if err != nil {
				close(got)
				return
			}
			got <- ev
		}
	}()
	e.Add(launch.Up{Node: "a"})
	e.Add(launch.Up{Node: "b"})
	for _, want := range []string{"a", "b"} {
		if ev := <-got; ev != (launch.Up{Node: want}) {
			t.Errorf("got %v, want %s", ev, want)
		}
	}
	e.Close()
	if _, ok := <-got; ok {
		t.Error("an event after Close")
	}
	e.Add(launch.Up{Node: "c"})
	if _, err := e.Next(t.Context()); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

// Nodes of one machine whose agent connects from a link-local address reach each other
// by the loopback address. Others keep their addresses.
func TestMembersAtLinkLocalAddress(t *testing.T) {
	for _, tt := range []struct{ hosts, want [2]string }{
		{[2]string{"fe80::1", "fe80::1"}, [2]string{"::1", "::1"}},
		{[2]string{"fe80::1", "fe80::2"}, [2]string{"fe80::1", "fe80::2"}},
		{[2]string{"fe80::1", "10.0.0.1"}, [2]string{"fe80::1", "10.0.0.1"}},
		{[2]string{"169.254.0.1", "169.254.0.1"}, [2]string{"169.254.0.1", "169.254.0.1"}},
		{[2]string{"2001:db8::1", "2001:db8::1"}, [2]string{"2001:db8::1", "2001:db8::1"}},
	} {
		var members []zeekapi.Member
		for i, host := range tt.hosts {
			members = append(members, zeekapi.Member{Name: string(rune('a' + i)), Role: zeekapi.RoleWorker, Host: netip.MustParseAddr(host)})
		}
		layout, err := zeekapi.NewLayout(members)
		if err != nil {
			t.Fatal(err)
		}
		var got [2]string
		for i, m := range (launch.Node{Layout: layout}).Members() {
			got[i] = m.Host.String()
		}
		if got != tt.want {
			t.Errorf("%v: %v, want %v", tt.hosts, got, tt.want)
		}
	}
}
