package supervisor

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/recorded"
)

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// Every recorded event between an agent and a Supervisor of Zeek must be
// decoded, with the layout of that version of Zeek, and must be the same when
// encoded again.
func TestRecordedEvents(t *testing.T) {
	for folder, layout := range map[string]Layout{"zeek-8.0.10-management": Layout61, "zeek-5.0.10-cluster": Layout40} {
		t.Run(folder, func(t *testing.T) {
			d := Dialect(Topic, layout)
			seen := make(map[string]bool)
			for _, ev := range recorded.Read(t, "../../testdata/recordings/"+folder+"/agent-supervisor-*.jsonl") {
				msg, err := d.Decode(ev.Event)
				if errors.Is(err, zeekapi.ErrUnknown) {
					continue
				}
				if err != nil {
					t.Errorf("%s at %v: %v", ev.File, ev.At, err)
					continue
				}
				seen[ev.Event.Name] = true
				if s, ok := msg.(StatusResponse); ok {
					for name, n := range s.Nodes {
						if n.Layout != layout || n.Config.Name != name {
							t.Errorf("%s at %v: %s has layout %v and name %s", ev.File, ev.At, name, n.Layout, n.Config.Name)
						}
					}
				}
				encoded, err := d.Encode(msg)
				if err != nil {
					t.Fatal(err)
				}
				again, err := d.Decode(encoded)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(msg, again, compareAddrs); diff != "" {
					t.Errorf("%s at %v (-recorded +again)\n%s", ev.File, ev.At, diff)
				}
				// Before Zeek 6.0, endpoints have fewer fields.
				if layout == Layout61 && ev.Event.String() != encoded.String() {
					t.Errorf("%s at %v: got %s, want %s", ev.File, ev.At, encoded, ev.Event)
				}
			}
			if len(seen) < 5 {
				t.Errorf("only %v", seen)
			}
		})
	}
}

func example() NodeConfig {
	bare, cpu := true, int64(3)
	return NodeConfig{
		Name: "w", Interface: "eth0", Directory: "/d", Stdout: "out", Stderr: "err", BareMode: &bare,
		UserScripts: []string{"b", "a"}, Env: map[string]string{"K": "v"}, CPUAffinity: &cpu,
		Cluster: map[string]Endpoint{"w": {Role: zeekapi.RoleWorker, Host: netip.MustParseAddr("10.0.0.1"), Port: broker.TCP(1)}},
	}
}

func TestLayouts(t *testing.T) {
	for _, l := range Layouts {
		t.Run(l.String(), func(t *testing.T) {
			for name, c := range map[string]NodeConfig{
				"full":    example(),
				"minimal": {Name: "w", UserScripts: []string{}, Env: map[string]string{}, Cluster: map[string]Endpoint{}},
			} {
				v, err := c.marshal(l)
				if err != nil {
					t.Fatal(err)
				}
				got, layout, err := unmarshal(v)
				if err != nil || layout != l {
					t.Fatalf("%s: layout %v, %v", name, layout, err)
				}
				if l != Layout40 {
					c.BaseScripts = []string{}
				}
				if diff := cmp.Diff(c, got, compareAddrs); diff != "" {
					t.Errorf("%s (-want +got)\n%s", name, diff)
				}
			}
		})
	}
}

// Before Zeek 5.1 there is a single list, in which base scripts come first.
func TestOneListOfScripts(t *testing.T) {
	c := NodeConfig{Name: "w", BaseScripts: []string{"base"}, UserScripts: []string{"user"}}
	v, err := c.marshal(Layout40)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.At(6).String(); got != `["base", "user"]` {
		t.Error(got)
	}
	if _, err := c.marshal(LayoutUnknown); err == nil {
		t.Error("LayoutUnknown can be encoded")
	}
}

// A probe must be valid in its own layout only. Like Zeek, the decoder ignores
// surplus fields of a record and checks types.
func TestProbeFitsOneLayout(t *testing.T) {
	fits := map[Layout]func(broker.Value) error{
		Layout40: func(v broker.Value) error { return record.Unmarshal(v, new(config40)) },
		Layout51: func(v broker.Value) error { return record.Unmarshal(v, new(config51)) },
		Layout60: func(v broker.Value) error { return record.Unmarshal(v, new(config60)) },
		Layout61: func(v broker.Value) error { return record.Unmarshal(v, new(config61)) },
	}
	for _, l := range Layouts {
		ev, err := Dialect(Topic, l).Encode(Probe("r"))
		if err != nil {
			t.Fatal(err)
		}
		if name := ev.Args[1].At(0).String(); name != `""` {
			t.Errorf("%s: the probe creates the node %q", l, name)
		}
		for _, other := range Layouts {
			if err := fits[other](ev.Args[1]); (err == nil) != (l == other) {
				t.Errorf("probe of %s to %s: %v", l, other, err)
			}
		}
	}
}

func TestInvalidStatus(t *testing.T) {
	d := Dialect(Topic, LayoutUnknown)
	nodes := func(config broker.Value) broker.Value {
		return broker.Vector(broker.Table(broker.Entry{Key: broker.String("w"), Value: broker.Vector(config, broker.None())}))
	}
	for _, tt := range []struct {
		status broker.Value
		want   string
	}{
		{broker.Vector(), "result: want a record of 1 fields, got 0"},
		{nodes(broker.Count(1)), `result.nodes["w"].node: node has kind count, want vector`},
		{nodes(broker.Vector(make([]broker.Value, 11)...)), `result.nodes["w"].node: node has 11 fields, want 10, 12 or 13`},
		{nodes(broker.Vector(make([]broker.Value, 13)...)), `result.nodes["w"].node: record: name: want string, got none`},
	} {
		_, err := d.Decode(broker.NewEvent("SupervisorControl::status_response", broker.String("r"), tt.status))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	for _, l := range Layouts {
		v, err := example().marshal(l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bin.Append(nil, v))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := bin.Decode(b)
		if err != nil {
			return
		}
		c, l, err := unmarshal(v)
		if err != nil {
			return
		}
		if _, err := c.marshal(l); err != nil && !strings.Contains(err.Error(), "zeekapi") {
			t.Errorf("%v: %v", l, err)
		}
	})
}
