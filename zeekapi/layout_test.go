package zeekapi

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
)

func TestLayout(t *testing.T) {
	members := []Member{
		{Name: "worker-1", Role: RoleWorker, Host: netip.MustParseAddr("fe80::1")},
		{Name: "logger", Role: RoleLogger, Host: netip.MustParseAddr("10.0.0.1"), Port: broker.TCP(2200), MetricsPort: broker.TCP(9101)},
		{Name: "none", Role: RoleNone, Port: broker.Port{Number: 7, Protocol: broker.ProtocolUDP}},
		{Name: "unknown", Role: RoleProxy, Port: broker.Port{Number: 7}},
	}
	const text = "logger LOGGER 10.0.0.1 2200/tcp 9101/tcp\n" +
		"none NONE - 7/udp -\n" +
		"unknown PROXY - 7/? -\n" +
		"worker-1 WORKER fe80::1 - -\n"
	layout, err := NewLayout(members)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(layout)); diff != "" {
		t.Errorf("layout (-want +got):\n%s", diff)
	}
	back, err := layout.Members()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(members, back, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if none, err := Layout("").Members(); len(none) != 0 || err != nil {
		t.Errorf("members of an empty layout: %v, %v", none, err)
	}
}

func TestLayoutRejectsInvalidMembersAndText(t *testing.T) {
	for _, members := range [][]Member{
		{{Name: "", Role: RoleWorker}},
		{{Name: "a b", Role: RoleWorker}},
		{{Name: "a\nb", Role: RoleWorker}},
		{{Name: "a"}},
		{{Name: "a", Role: RoleWorker, Port: broker.Port{Protocol: 9}}},
		{{Name: "a", Role: RoleWorker}, {Name: "b", Role: RoleProxy}, {Name: "a", Role: RoleProxy}},
	} {
		if l, err := NewLayout(members); err == nil {
			t.Errorf("no error for %v, layout %q", members, l)
		}
	}
	const good = "a WORKER - - -\n"
	for text, want := range map[string]string{
		good + "b WORKER - - -":            "line 2: line is incomplete",
		good + "b":                         "line 2: line is incomplete",
		good + good:                        "line 2: a does not come after a",
		good + "\n":                        "line 2: node name is empty",
		" WORKER - - -\n":                  "line 1: node name is empty",
		"a BOSS - - -\n":                   `line 1: node a has the unknown role "BOSS"`,
		"a WORKER host - -\n":              `line 1: ParseAddr("host"): unable to parse IP`,
		"a WORKER - 7 -\n":                 "line 1: ",
		"a WORKER - 70000/tcp -\n":         "line 1: ",
		"a WORKER -\n":                     "line 1: ",
		"a WORKER - - - too much\n" + good: `line 1: unexpected "too much" at the end`,
	} {
		_, err := Layout(text).Members()
		if err == nil || !strings.HasPrefix(err.Error(), "zeekapi: layout: "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestLayoutMember(t *testing.T) {
	const layout = Layout("WORKER MANAGER - - -\na WORKER - - -\nab PROXY 10.0.0.1 7/tcp -\nb BOSS - - -\nlast LOGGER - - -")
	for name, want := range map[string]string{
		"a": "", "ab": "", "WORKER": "",
		"":         "node name is empty",
		"a WORKER": `node name "a WORKER": want printable`,
		"a\nab":    `node name "a\nab": want printable`,
		"x":        "node x is not in the layout of its cluster",
		"PROXY":    "node PROXY is not in the layout of its cluster",
		"b":        `node b has the unknown role "BOSS"`,
		"last":     "line is incomplete",
	} {
		m, err := layout.Member(name)
		switch {
		case want == "" && (err != nil || m.Name != name):
			t.Errorf("%q: %v, %v", name, m, err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

func TestPackedLayout(t *testing.T) {
	const line = "worker-0000001 WORKER 10.0.0.1 2200/tcp 9000/tcp\n"
	for _, l := range []Layout{"", line, Layout(strings.Repeat(line, 1000))} {
		packed := l.Pack()
		if got, err := packed.Unpack(); got != l || err != nil {
			t.Errorf("%d bytes are unpacked to %d bytes, error %v", len(l), len(got), err)
		}
		if len(l) > 1000 && len(packed) > len(l)/3 {
			t.Errorf("%d bytes are packed to %d bytes", len(l), len(packed))
		}
	}
	large := Layout(make([]byte, MaxLayoutSize+1)).Pack()
	for packed, want := range map[PackedLayout]string{
		"":                   "zeekapi: layout: s2: corrupt input",
		"\x05a":              "zeekapi: layout: s2: corrupt input",
		line:                 "zeekapi: layout: s2: corrupt input",
		large:                "zeekapi: layout: 16777217 bytes, limit is 16777216",
		large[:len(large)/2]: "zeekapi: layout: 16777217 bytes, limit is 16777216",
	} {
		if _, err := packed.Unpack(); err == nil || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", packed, err, want)
		}
	}
}

// FuzzLayout checks that the members of a parsed layout can be encoded and parsed
// again, and that Member finds each of them.
func FuzzLayout(f *testing.F) {
	f.Add("a WORKER - - -\nb MANAGER 10.0.0.1 2200/tcp 9101/tcp\n")
	f.Add("a NONE ::1%x 1/icmp 0/udp\n")
	f.Fuzz(func(t *testing.T, text string) {
		members, err := Layout(text).Members()
		if err != nil {
			return
		}
		layout, err := NewLayout(members)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range members {
			members[i].Host = m.Host.WithZone("")
		}
		back, err := layout.Members()
		if err != nil || !slices.Equal(back, members) {
			t.Errorf("%q: parsed as %v, encoded as %q, error %v", text, members, layout, err)
		}
		for _, want := range members {
			if m, err := layout.Member(want.Name); m != want || err != nil {
				t.Errorf("%q: %s is %v, %v, want %v", layout, want.Name, m, err, want)
			}
		}
	})
}

// FuzzUnpack checks that an unpacked layout is the same after packing and unpacking.
func FuzzUnpack(f *testing.F) {
	f.Add(string(Layout("a WORKER - - -\nb MANAGER 10.0.0.1 2200/tcp 9101/tcp\n").Pack()))
	f.Fuzz(func(t *testing.T, block string) {
		layout, err := PackedLayout(block).Unpack()
		if err != nil {
			return
		}
		if back, err := layout.Pack().Unpack(); back != layout || err != nil {
			t.Errorf("%d bytes are %d bytes after packing and unpacking, error %v", len(layout), len(back), err)
		}
	})
}

func BenchmarkLayoutMembers(b *testing.B) {
	var members []Member
	for i := range 1000 {
		members = append(members, Member{
			Name: fmt.Sprintf("worker-%04d", i), Role: RoleWorker,
			Host: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), MetricsPort: broker.TCP(uint16(9000 + i)),
		})
	}
	layout, err := NewLayout(members)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(layout)))
	for b.Loop() {
		if _, err := layout.Members(); err != nil {
			b.Fatal(err)
		}
	}
}
