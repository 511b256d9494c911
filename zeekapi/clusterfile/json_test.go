package clusterfile_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

func TestJSONThereAndBack(t *testing.T) {
	cpu := int64(3)
	want := zeekapi.Configuration{
		ID: "8d0bea46-e690-11f1-98c6-02fc00000001",
		Instances: []zeekapi.Instance{
			{Name: "connects", Host: netip.IPv4Unspecified()},
			{Name: "known", Host: netip.MustParseAddr("10.0.0.1")}, // as deployed
			{Name: "listens", Host: netip.MustParseAddr("2001:db8::1"), Port: broker.TCP(2151)},
		},
		Nodes: []zeekapi.Node{
			{Name: "manager", Instance: "connects", Role: zeekapi.RoleManager, State: zeekapi.StateRunning, Port: broker.TCP(2200), MetricsPort: broker.TCP(9000)},
			{Name: "worker", Instance: "listens", Role: zeekapi.RoleWorker, State: zeekapi.StateRunning, Interface: "eth0", CPUAffinity: &cpu,
				Scripts: []string{"local", "b c"}, Env: map[string]string{"A": "1"}, Options: []zeekapi.Option{{Name: "n", Value: "v"}}},
		},
	}
	text, err := clusterfile.JSON(want)
	if err != nil {
		t.Fatal(err)
	}
	if !clusterfile.IsJSON(text) || clusterfile.IsJSON([]byte("[instances]\n{")) {
		t.Error("JSON and INI are mistaken for each other")
	}
	got, err := clusterfile.ParseJSON("c.json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	a, _ := clusterfile.ParseJSON("c.json", strings.NewReader("{}"))
	b, _ := clusterfile.ParseJSON("c.json", strings.NewReader("{}"))
	if a.ID == "" || a.ID == b.ID {
		t.Errorf("IDs %q and %q", a.ID, b.ID)
	}
}

func TestJSONErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{\n\"id\": \"x\",\n]", "invalid character ']' looking for beginning of object key string (c.json:3)"},
		{"{\n\"nodes\": [\n", "the file ends too early (c.json:3)"},
		{"{}\n{}", "more text after the configuration (c.json:2)"},
		{`{"nodes": [{"prot": 1}]}`, `unknown field "prot" (c.json:1)`},
		{"{\"nodes\": [\n{\"port\": 70000}]}", "nodes.port is number 70000, which does not fit (c.json:2)"},
		{`{"nodes": [{"name": "a", "instance": "i", "role": "boss"}, {"role": "worker", "port": 0}]}`,
			`invalid role "boss" for node "a" (c.json)
node 2 has no name (c.json)
node "" has no instance (c.json)
port of node "" is not in 1..65535 (c.json)`},
		{`{"instances": [{"name": "i", "host": "here"}, {"name": "j", "port": 1}, {}]}`,
			`invalid spec for instance "i": host "here" is not an address (c.json)
invalid spec for instance "j": a port needs a host, and is in 1..65535 (c.json)
instance 3 has no name (c.json)`},
	} {
		_, err := clusterfile.ParseJSON("c.json", strings.NewReader(tt.text))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"id": "x", "instances": [{"name": "i", "host": "::1", "port": 1}], "nodes": [{"name": "n", "instance": "i", "role": "WORKER", "env": {"a": "b"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := clusterfile.ParseJSON("x", bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := clusterfile.JSON(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := clusterfile.ParseJSON("y", bytes.NewReader(again)); err != nil {
			t.Errorf("%s became %s: %v", text, again, err)
		}
	})
}
