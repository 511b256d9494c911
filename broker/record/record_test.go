package record_test

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

var compareValues = cmp.Options{
	cmp.Comparer(broker.Equal),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

type color string

func (c color) Valid() bool { return c == "RED" || c == "GREEN" }

type inner struct {
	A netip.Addr  `zeek:"a"`
	P broker.Port `zeek:"p"`
}

type base struct {
	ID string `zeek:"id"`
}

type everything struct {
	base
	B        bool              `zeek:"b"`
	C        uint64            `zeek:"c"`
	Small    uint8             `zeek:"small"`
	I        int64             `zeek:"i"`
	D        float64           `zeek:"d"`
	N        netip.Prefix      `zeek:"n"`
	T        time.Time         `zeek:"t"`
	Iv       time.Duration     `zeek:"iv"`
	E        color             `zeek:"e,enum=Zoo"`
	Label    string            `zeek:"label,enum"`
	Any      broker.Value      `zeek:"any"`
	V        []uint64          `zeek:"v"`
	VV       [][]string        `zeek:"vv"`
	S        []string          `zeek:"s,set"`
	Records  []inner           `zeek:"records,set"`
	Colors   []color           `zeek:"colors,set,enum=Zoo"`
	Table    map[string]inner  `zeek:"table"`
	Env      map[string]string `zeek:"env"`
	Opt      *int64            `zeek:"opt,optional"`
	OptText  string            `zeek:"opt_text,optional"`
	OptList  []string          `zeek:"opt_list,optional"`
	Internal int               `zeek:"-"`
	Later    broker.Port       `zeek:"later,optional,trailing"`
	Binary   string            `zeek:"binary,trailing,base64"`
	Ours     string            `zeek:"ours,extension"`
	AlsoOurs uint64            `zeek:"also_ours,extension"`
}

func sample() everything {
	n := int64(0)
	return everything{
		base: base{"x"}, B: true, C: math.MaxUint64, Small: 255, I: -7, D: 1.5,
		N: netip.MustParsePrefix("10.0.0.0/8"), T: time.Unix(1, 5).UTC(), Iv: time.Minute,
		E: "RED", Label: "Conn::LOG", Any: broker.Vector(broker.Count(1)),
		V: []uint64{1, 2}, VV: [][]string{{"a"}, {}}, S: []string{"a", "b"},
		Records: []inner{{netip.MustParseAddr("10.0.0.1"), broker.TCP(80)}},
		Colors:  []color{"GREEN", "RED"},
		Table:   map[string]inner{"k": {netip.MustParseAddr("::1"), broker.TCP(1)}},
		Env:     map[string]string{}, Opt: &n, OptText: "text", OptList: []string{}, Later: broker.TCP(9000), Binary: "\xff\x00",
	}
}

func TestMarshal(t *testing.T) {
	got, err := record.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	want := `["x", T, 18446744073709551615, 255, -7, 1.5, 10.0.0.0/8, 1970-01-01T00:00:01.000000005Z, 1m0s, ` +
		`Zoo::RED, Conn::LOG, [1], [1, 2], [["a"], []], {"a", "b"}, {[10.0.0.1, 80/tcp]}, {Zoo::GREEN, Zoo::RED}, ` +
		`{"k" -> [::1, 1/tcp]}, {}, 0, "text", [], 9000/tcp, "/wA="]`
	if got.String() != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

func TestUnmarshalInvertsMarshal(t *testing.T) {
	for name, want := range map[string]everything{
		"full": sample(),
		"unset": func() everything {
			e := sample()
			e.Opt, e.OptText, e.OptList, e.Later = nil, "", nil, broker.Port{}
			return e
		}(),
		"with extensions": func() everything {
			e := sample()
			e.Ours, e.AlsoOurs = "x", 7
			return e
		}(),
		"with the second extension": func() everything {
			e := sample()
			e.AlsoOurs = 7
			return e
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			v, err := record.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got := everything{OptText: "old", OptList: []string{"old"}, Later: broker.TCP(1)}
			if err := record.Unmarshal(v, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, compareValues, cmp.AllowUnexported(everything{}, base{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Older versions of Zeek send shorter records; newer versions may send longer
// ones.
func TestRecordLengths(t *testing.T) {
	str, none := broker.String("manager"), broker.None()
	running, manager := broker.Enum("Management::RUNNING"), broker.Enum("Supervisor::MANAGER")
	mgmt, pid, port := broker.Enum("Management::NONE"), broker.Integer(7), broker.PortValue(broker.TCP(2200))
	want := zeekapi.NodeStatus{Node: "manager", State: "RUNNING", ManagementRole: "NONE", ClusterRole: "MANAGER", PID: 7, Port: broker.TCP(2200)}
	for name, v := range map[string]broker.Value{
		"Zeek 6.2":  broker.Vector(str, running, mgmt, manager, pid, port),
		"Zeek 8.0":  broker.Vector(str, running, mgmt, manager, pid, port, none),
		"Zeek 10.0": broker.Vector(str, running, mgmt, manager, pid, port, none, str, str),
	} {
		var got zeekapi.NodeStatus
		if err := record.Unmarshal(v, &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestUnmarshalErrors(t *testing.T) {
	type wrapped struct {
		Config zeekapi.Configuration `zeek:"config"`
	}
	node := func(fields ...broker.Value) broker.Value {
		full := []broker.Value{
			broker.String("n"), broker.String("i"), broker.Enum("Supervisor::WORKER"), broker.Enum("Management::RUNNING"),
			broker.None(), broker.None(), broker.None(), broker.None(), broker.None(), broker.Table(), broker.None(),
		}
		copy(full[4:], fields)
		return broker.Vector(full...)
	}
	config := func(nodes ...broker.Value) broker.Value {
		return broker.Vector(broker.Vector(broker.String("id"), broker.Set(), broker.Set(nodes...)))
	}
	for _, tt := range []struct {
		name  string
		value broker.Value
		into  any
		want  string
	}{
		{"wrong type deep inside", config(node(), node(broker.String("80"))), &wrapped{},
			"record: config.nodes[1].p: want port, got string"},
		{"not a record", broker.Count(1), &wrapped{}, "record: want vector, got count"},
		{"short record", broker.Vector(broker.Vector(broker.String("id"))), &wrapped{},
			"record: config: want a record of 3 fields, got 1"},
		{"vector for set", broker.Vector(broker.Vector(broker.String("id"), broker.Vector(), broker.Set())), &wrapped{},
			"record: config.instances: want set, got vector"},
		{"none for a mandatory field", broker.Vector(broker.None(), broker.String("")), new(zeekapi.NodeOutputs),
			"record: stdout: want string, got none"},
		{"unknown label", broker.Enum("Management::NAPPING"), &struct {
			S zeekapi.State `zeek:"s,enum=Management"`
		}{}, "record: want vector, got enum-value"},
		{"label of another module", broker.Vector(broker.Enum("Other::RUNNING")), &struct {
			S zeekapi.State `zeek:"s,enum=Management"`
		}{}, `record: s: unknown enum label "Other::RUNNING"`},
		{"unknown label of the right module", broker.Vector(broker.Enum("Management::NAPPING")), &struct {
			S zeekapi.State `zeek:"s,enum=Management"`
		}{}, `record: s: unknown enum label "Management::NAPPING"`},
		{"count out of range", broker.Count(256), new(uint8), "record: 256 does not fit uint8"},
		{"count for int", broker.Count(1), new(int64), "record: want integer, got count"},
		{"real out of range", broker.Real(1e300), new(float32), "record: 1e+300 does not fit float32"},
		{"table key", broker.Table(broker.Entry{Key: broker.Count(1)}), new(map[string]string),
			`record: key[1]: want string, got count`},
		{"huge label", broker.Vector(broker.Enum(strings.Repeat("a", 1<<20))), &struct {
			S zeekapi.State `zeek:"s,enum"`
		}{}, `record: s: unknown enum label "` + strings.Repeat("a", 80) + `"`},
		{"value of a huge key", broker.Table(broker.Entry{Key: broker.String(strings.Repeat("a", 1<<20))}), new(map[string]string),
			`record: ["` + strings.Repeat("a", 79) + `]: want string, got none`},
		{"table value", broker.Table(broker.Entry{Key: broker.String("k"), Value: broker.Count(1)}), new(map[string]string),
			`record: ["k"]: want string, got count`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := record.Unmarshal(tt.value, tt.into)
			var mapping *record.Error
			if !errors.As(err, &mapping) || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

type (
	tree struct {
		Left *tree `zeek:"left,optional"`
	}
	list []list
)

// An embedded record type contributes its fields. Other embedded types, and
// pointers, are single fields.
func TestEmbedded(t *testing.T) {
	type hidden struct{ X uint64 }
	type Later struct{ Y uint64 }
	v := struct {
		base
		hidden `zeek:"-"`
		netip.Addr
		*Later
		ID2 string `zeek:"id"`
	}{base{"a"}, hidden{1}, netip.MustParseAddr("::1"), nil, "b"}
	got, err := record.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if want := `["a", ::1, nil, "b"]`; got.String() != want {
		t.Errorf("got %s, want %s", got, want)
	}
	v.Later = &Later{2}
	if got, err = record.Marshal(v); err != nil || got.At(2).String() != "[2]" {
		t.Errorf("got %s, %v", got, err)
	}
}

// A string kept from a message must not retain the memory of the frame that it
// arrived in.
func TestStringsAreCopies(t *testing.T) {
	frame := strings.Repeat("RED", 100)
	var got struct {
		S string          `zeek:"s"`
		E color           `zeek:"e,enum"`
		M map[string]bool `zeek:"m"`
	}
	err := record.Unmarshal(broker.Vector(broker.String(frame[:3]), broker.Enum(frame[:3]),
		broker.Table(broker.Entry{Key: broker.String(frame[:3]), Value: broker.Boolean(true)})), &got)
	if err != nil {
		t.Fatal(err)
	}
	kept := []string{got.S, string(got.E)}
	for key := range got.M {
		kept = append(kept, key)
	}
	for _, s := range kept {
		if s != "RED" || unsafe.StringData(s) == unsafe.StringData(frame) {
			t.Errorf("%q is not a copy", s)
		}
	}
}

func TestMarshalErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{"channel", make(chan int), "record: Go type chan int has no counterpart in Zeek"},
		{"label", struct {
			E color `zeek:"e,enum"`
		}{"BLUE"}, `record: e: "BLUE" is not a label of record_test.color`},
		{"port", struct {
			P broker.Port `zeek:"p"`
		}{broker.Port{Number: 1, Protocol: 9}}, "record: p: invalid port: protocol(9)"},
		{"recursive struct", tree{}, "record: Go type record_test.tree contains itself (field Left of record_test.tree)"},
		{"recursive slice", list{}, "record: Go type record_test.list contains itself"},
		{"tag", struct {
			E string `zeek:"e,enumm"`
		}{}, `record: field E has unknown tag option "enumm"`},
	} {
		if _, err := record.Marshal(tt.value); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
	if err := record.Unmarshal(broker.None(), everything{}); err == nil {
		t.Error("Unmarshal accepts a value that is not a pointer")
	}
}

func BenchmarkUnmarshalConfiguration(b *testing.B) {
	c := zeekapi.Configuration{ID: "id", Instances: []zeekapi.Instance{{Name: "i", Host: netip.MustParseAddr("10.0.0.1")}}}
	for _, name := range []string{"a", "b", "c", "d"} {
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: name, Instance: "i", Role: "WORKER", State: "RUNNING", Interface: "eth0"})
	}
	v, err := record.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var got zeekapi.Configuration
		if err := record.Unmarshal(v, &got); err != nil {
			b.Fatal(err)
		}
	}
}
