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
		t.Errorf("of nothing: %v, %v", none, err)
	}
}

func TestLayoutRefuses(t *testing.T) {
	for _, members := range [][]Member{
		{{Name: "", Role: RoleWorker}},
		{{Name: "a b", Role: RoleWorker}},
		{{Name: "a\nb", Role: RoleWorker}},
		{{Name: "a", Role: RoleWorker}, {Name: "b"}, {Name: "a"}},
	} {
		if l, err := NewLayout(members); err == nil {
			t.Errorf("layout of %v is %q", members, l)
		}
	}
	const good = "a WORKER - - -\n"
	for text, want := range map[string]string{
		good + "b WORKER - - -":            "line 2: it has no end",
		good + "b":                         "line 2: it has no end",
		good + good:                        "line 2: a does not come after a",
		good + "\n":                        `line 2: node  has the unknown role ""`,
		" WORKER - - -\n":                  "line 1:  does not come after ",
		"a BOSS - - -\n":                   `line 1: node a has the unknown role "BOSS"`,
		"a WORKER host - -\n":              `line 1: ParseAddr("host"): unable to parse IP`,
		"a WORKER - 7 -\n":                 "line 1: ",
		"a WORKER - 70000/tcp -\n":         "line 1: ",
		"a WORKER -\n":                     "line 1: ",
		"a WORKER - - - too much\n" + good: `line 1: "too much" is too much`,
	} {
		_, err := Layout(text).Members()
		if err == nil || !strings.HasPrefix(err.Error(), "zeekapi: layout: "+want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzLayout: what can be read is written as it was read.
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
			t.Errorf("%q: read as %v, written as %q: %v", text, members, layout, err)
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
