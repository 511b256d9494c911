package clusterfile_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// TestNoClusterFileIsForeign checks that every file of the corpus that can be parsed
// is accepted, and so is what is written of it.
func TestNoClusterFileIsForeign(t *testing.T) {
	files, err := filepath.Glob("../../testdata/clusters/ini/*.cfg")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := clusterfile.Parse(path, bytes.NewReader(text), clusterfile.Options{Hostname: "h"})
		if err != nil {
			continue
		}
		texts := [][]byte{text}
		if json, err := clusterfile.JSON(c); err == nil {
			texts = append(texts, json)
		}
		if ini, err := clusterfile.INI(c); err == nil {
			texts = append(texts, ini)
		}
		for _, text := range texts {
			if err := clusterfile.Foreign(path, text); err != nil {
				t.Errorf("%v\n%s", err, text)
			}
		}
	}
	if err := clusterfile.Foreign("empty", nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// TestThoroughAddsNothingElse checks that a thorough parser reads the same
// configuration.
func TestThoroughAddsNothingElse(t *testing.T) {
	const text = "[DEFAULT]\ntype = worker\n[m]\nenv = A=1,B=2\n"
	var read []zeekapi.Configuration
	for _, thorough := range []bool{false, true} {
		c, _, err := clusterfile.Parse("c", strings.NewReader(text), clusterfile.Options{Thorough: thorough})
		if err != nil {
			t.Fatal(err)
		}
		read = append(read, c)
	}
	if a, b := read[0].Nodes[0], read[1].Nodes[0]; a.Env["A"] != "1,B=2" || b.Env["A"] != a.Env["A"] || b.Role != a.Role {
		t.Errorf("read %v and %v", a, b)
	}
}

func TestAnnouncements(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hosts [3]string // of the manager and two workers
		want  bool
	}{
		{"one machine", [3]string{"127.0.0.1", "127.0.0.1", "127.0.0.2"}, false},
		{"several machines", [3]string{"10.0.0.1", "10.0.0.2", "127.0.0.1"}, false},
		{"unknown addresses", [3]string{"127.0.0.1", "0.0.0.0", "0.0.0.0"}, false},
		{"loopback", [3]string{"127.0.0.1", "0.0.0.0", "10.0.0.2"}, true},
		{"loopback, IPv6", [3]string{"::1", "127.0.0.1", "10.0.0.2"}, true},
		{"one link", [3]string{"169.254.0.1", "169.254.0.2", "169.254.0.3"}, false},
		{"link-local", [3]string{"169.254.0.1", "169.254.0.2", "10.0.0.3"}, true},
		{"link-local, IPv6", [3]string{"fe80::1", "fe80::2", "fe80::1"}, true},
	} {
		c := zeekapi.Configuration{Nodes: []zeekapi.Node{{Name: "m", Instance: "a", Role: zeekapi.RoleManager}}}
		for i, host := range tt.hosts {
			name := string(rune('a' + i))
			c.Instances = append(c.Instances, zeekapi.Instance{Name: name, Host: netip.MustParseAddr(host)})
			c.Nodes = append(c.Nodes, zeekapi.Node{Name: "w" + name, Instance: name, Role: zeekapi.RoleWorker})
		}
		if found := clusterfile.Announcements(c); len(found) > 0 != tt.want {
			t.Errorf("%s: %v, want an error: %t", tt.name, found, tt.want)
		}
	}
}

// An agent that listens at an IPv6 link-local address cannot be reached. One that
// connects from there can be used alone.
func TestAnnouncementsOfUnreachableAgents(t *testing.T) {
	for _, tt := range []struct {
		instance zeekapi.Instance
		want     string
	}{
		{zeekapi.Instance{Name: "a", Host: netip.MustParseAddr("fe80::1"), Port: broker.TCP(2151)}, "needs a zone"},
		{zeekapi.Instance{Name: "a", Host: netip.MustParseAddr("fe80::1")}, ""},
		{zeekapi.Instance{Name: "a", Host: netip.MustParseAddr("169.254.0.1"), Port: broker.TCP(2151)}, ""},
		{zeekapi.Instance{Name: "a", Host: netip.MustParseAddr("2001:db8::1"), Port: broker.TCP(2151)}, ""},
	} {
		found := clusterfile.Announcements(zeekapi.Configuration{
			Instances: []zeekapi.Instance{tt.instance}, Nodes: []zeekapi.Node{{Name: "m", Instance: "a", Role: zeekapi.RoleManager}},
		})
		if ok := len(found) == 0; ok != (tt.want == "") || !ok && !strings.Contains(found[0].Text, tt.want) {
			t.Errorf("%v: %v", tt.instance, found)
		}
	}
}

func FuzzForeign(f *testing.F) {
	for _, seed := range []string{"", "[a]\nhost=b\n", "a: b\n", "{}", "[1]", "MailTo = x\n", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, text []byte) {
		_ = clusterfile.Foreign("c", text)
		_, _, _ = clusterfile.Parse("c", bytes.NewReader(text), clusterfile.Options{Thorough: true})
	})
}
