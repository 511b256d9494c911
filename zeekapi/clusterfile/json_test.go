package clusterfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

func TestJSONRoundTrip(t *testing.T) {
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
		t.Error("JSON and INI are not distinguished")
	}
	got, err := clusterfile.ParseJSON("c.json", bytes.NewReader(text), clusterfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	a, _ := clusterfile.ParseJSON("c.json", strings.NewReader("{}"), clusterfile.Options{})
	b, _ := clusterfile.ParseJSON("c.json", strings.NewReader("{}"), clusterfile.Options{})
	if a.ID == "" || a.ID == b.ID {
		t.Errorf("IDs %q and %q", a.ID, b.ID)
	}
}

func TestJSONErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"wrong bracket", "{\n\"id\": \"x\",\n]", "invalid character ']' looking for beginning of object key string (c.json:3)"},
		{"unexpected end", "{\n\"nodes\": [\n", "unexpected end of file (c.json:3)"},
		{"two values", "{}\n\n{}", "unexpected text after the configuration (c.json:3)"},
		{"array", "[]", "the configuration is an array, want an object (c.json:1)"},
		{"several errors", `{
"id": 1, "Nodes": [],
"instances": [{"name": "i", "host": "here"}, {"name": "j",
"port": 1}, {},
7, {"name": "k", "host": "::1",
"port": 70000}, {"name": "l",
"host": [{"a": ["b"]}], "port": 1.5},
{"name": "m", "hots": "10.0.0.1",
"name": "n"}],
"nodes": [
{"name": "a", "instance": "i", "role": "boss", "prot": 1},
{"instance": null,
"scripts": ["x", 1],
"port": "2200"},
{"env": {"A": 1, "B": "2"},
"name": "b", "role": "worker", "instance": "i",
"cpu_affinity": 99999999999999999999,
"metrics_port": 0},
{"name": "c", "role": {}, "instance": "i", "options": [{"name": false}], "interface": -1}
]}`, `id is 1, want a string (c.json:2)
the configuration has no "Nodes" (c.json:2)
invalid spec for instance "i": host "here" is not an IP address (c.json:3)
invalid spec for instance "j": a port requires a host (c.json:4)
instances[2] has no name (c.json:4)
instances[3] is 7, want an object (c.json:5)
invalid spec for instance "k": port "70000" is not a number in 1..65535 (c.json:6)
instances[5].host is an array, want a string (c.json:7)
instances[5].port is 1.5, want an integer (c.json:7)
instances[6] has no "hots" (c.json:8)
"name" of instances[6] occurs twice, first in line 8 (c.json:9)
nodes[0] has no "prot" (c.json:11)
invalid node "a" configuration: role "boss" is invalid (c.json:11)
invalid node nodes[1] configuration: node requires a name (c.json:12)
invalid node nodes[1] configuration: node requires an instance (c.json:12)
invalid node nodes[1] configuration: node requires a role (c.json:12)
nodes[1].scripts[1] is 1, want a string (c.json:13)
nodes[1].port is "2200", want an integer (c.json:14)
nodes[2].env.A is 1, want a string (c.json:15)
invalid node "b" configuration: cpu_affinity 99999999999999999999 outside valid range (c.json:17)
invalid node "b" configuration: metrics port 0 outside valid range (c.json:18)
nodes[3].role is an object, want a string (c.json:19)
nodes[3].options[0].name is false, want a string (c.json:19)
nodes[3].interface is -1, want a string (c.json:19)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := clusterfile.ParseJSON("c.json", strings.NewReader(tt.text), clusterfile.Options{})
			if diff := cmp.Diff(tt.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Host names are resolved, as in an INI file.
func TestParseJSONResolvesHostNames(t *testing.T) {
	resolve := func(host string) ([]netip.Addr, error) {
		if host == "one" {
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}
		return nil, errors.New("unknown host")
	}
	got, err := clusterfile.ParseJSON("c.json", strings.NewReader(`{"instances": [{"name": "i", "host": "one", "port": 1}]}`), clusterfile.Options{Resolve: resolve})
	if err != nil || len(got.Instances) != 1 || got.Instances[0].Host != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("%v, %v", got, err)
	}
	_, err = clusterfile.ParseJSON("c.json", strings.NewReader("{\"instances\": [{\"name\": \"i\",\n\"host\": \"two\"}]}"), clusterfile.Options{Resolve: resolve})
	if want := `invalid spec for instance "i": host "two" cannot be resolved: unknown host (c.json:2)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFindPlaces(t *testing.T) {
	ini := "[instances]\nAgent = 10.0.0.1:1\n\n[n]\nrole = worker\nPORT = 1\n"
	json := "{\"instances\": [\n{\"port\": 1, \"name\": \"Agent\"}],\n\"nodes\": [\n{\"role\": \"worker\",\n\"name\": \"n\",\n\"port\": 1}]}"
	for _, text := range []string{ini, json} {
		p := clusterfile.FindPlaces([]byte(text), false)
		if p.Instance("Agent") != 2 || p.Node("n", "") != 4 || p.Node("n", "port") != 6 || p.Node("n", "env") != 0 || p.Instance("n") != 0 {
			t.Errorf("%s\n%v", text, p)
		}
	}
	if p := clusterfile.FindPlaces([]byte("{"), false); p.Node("", "") > 0 || p.Instance("") > 0 {
		t.Error(p)
	}
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(`{"id": "x", "instances": [{"name": "i", "host": "::1", "port": 1}], "nodes": [{"name": "n", "instance": "i", "role": "WORKER", "env": {"a": "b"}}]}`))
	f.Add([]byte(`{"instances": [{"name": "i"}], "nodes": [{"name": "n", "instance": "i", "role": "WORKER", "scripts": ["a\u000c", "b c"], "interface": "e ", "env": {"a": "b\n#c"}}]}`))
	f.Add([]byte(`{"instances": [{"name": "I", "host": "fe80::1%e", "port": 1}], "nodes": [{"name": "n", "instance": "I", "role": "WORKER", "env": {"a=b": "c"}}, {"name": "o", "instance": "I", "role": "PROXY", "scripts": ["b", "a", "b"], "cpu_affinity": 5, "options": [{"name": "cpu_affinity", "value": "1-2"}, {"name": "x", "value": "y"}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := clusterfile.ParseJSON("x", bytes.NewReader(text), clusterfile.Options{})
		if err != nil {
			return
		}
		again, err := clusterfile.JSON(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := clusterfile.ParseJSON("y", bytes.NewReader(again), clusterfile.Options{}); err != nil {
			t.Errorf("%s is encoded as %s, error %v", text, again, err)
		}
		for i := range c.Nodes { // what INI files do not have
			c.Nodes[i].Options = nil
			slices.Sort(c.Nodes[i].Scripts)
		}
		checkINI(t, c)
	})
}
