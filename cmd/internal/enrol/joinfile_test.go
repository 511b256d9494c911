package enrol_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
)

func TestJoinFile(t *testing.T) {
	want := newCluster(t).invite(t, authority.Agent, "sensor-1")
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := enrol.ReadJoinFile(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	want.Format = got.Format
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(got.Fingerprint()) != 32*3-1 || got.JoinAddress() == got.AgentAddress() {
		t.Errorf("fingerprint %s, addresses %s and %s", got.Fingerprint(), got.JoinAddress(), got.AgentAddress())
	}
}

// What a join file says becomes names of files and lines of settings.
func TestHostileJoinFiles(t *testing.T) {
	good := newCluster(t).invite(t, authority.Agent, "sensor-1")
	text, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ordinary, _ := certtest.New(t).Issue(t, "x")
	certificate, err := os.ReadFile(ordinary)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]map[string]any{
		"format":              {"format": "zeekwire join file 2"},
		"no format":           {"format": nil},
		"unknown field":       {"run": "rm -rf /"},
		"kind of controller":  {"kind": "controller"},
		"unknown kind":        {"kind": "root"},
		"name with a path":    {"name": "../../etc/passwd"},
		"name with a line":    {"name": "x\ntls = off"},
		"no name":             {"name": ""},
		"host with a line":    {"controller": "10.0.0.1\ntls = off"},
		"host with a comment": {"controller": "10.0.0.1 # x"},
		"host is a URL":       {"controller": "https://10.0.0.1"},
		"host with reference": {"controller": "%(x)s"},
		"no host":             {"controller": ""},
		"port 0":              {"join_port": 0},
		"large port":          {"agent_port": 65536},
		"negative port":       {"client_port": -1},
		"port is a text":      {"agent_port": "2150"},
		"no secret":           {"secret": ""},
		"long secret":         {"secret": strings.Repeat("x", 1000)},
		"secret with a line":  {"secret": strings.Repeat("x", 40) + "\r\nHost: y"},
		"no authority":        {"authority": ""},
		"authority no PEM":    {"authority": "hello"},
		"authority twice":     {"authority": good.Authority + good.Authority},
		"no authority's":      {"authority": string(certificate)},
		"damaged authority":   {"authority": strings.Replace(good.Authority, "M", "N", 1)},
	} {
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		for key, value := range change {
			fields[key] = value
		}
		changed, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enrol.ReadJoinFile(strings.NewReader(string(changed))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "no JSON": "hello", "array": "[]", "null": "null", "two": string(text) + string(text),
		"truncated": string(text[:len(text)-10]), "large": "{" + strings.Repeat(" ", 1<<20) + "}",
	} {
		if _, err := enrol.ReadJoinFile(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReadJoinFile(f *testing.F) {
	f.Add(`{"format":"zeekwire join file 1","kind":"agent","name":"x","controller":"h","agent_port":1,"client_port":2,"join_port":3}`)
	f.Fuzz(func(t *testing.T, text string) {
		j, err := enrol.ReadJoinFile(strings.NewReader(text))
		if err != nil {
			return
		}
		if strings.ContainsAny(j.Name+j.Host+j.Secret, "\n\r/ ") || j.Fingerprint() == "" {
			t.Errorf("accepted %q", text)
		}
	})
}
