package clusterfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

var siteID = strings.Repeat("0123456789abcdef", 4)

// withSites has two sites: one that is good, and one that is not.
var withSites = clusterfile.Options{Hostname: "h", Extended: true, Site: func(dir string) (string, error) {
	switch dir {
	case "./my site":
		return siteID, nil
	case "bad":
		return "", &site.RefusedError{Dir: "/x/bad", Problems: []site.Problem{{Path: "a", Text: "is a device"}, {Path: "b", Text: "is a socket"}}}
	}
	return "", errors.New("no such directory")
}}

func TestClusterSection(t *testing.T) {
	const nodes = "[m]\nrole = manager\nscripts = z.zeek a.zeek local.zeek\n\n[w]\nrole = worker\n"
	for _, tt := range []struct{ name, text, want string }{
		{"none", nodes, "site , m [a.zeek local.zeek z.zeek], w []"},
		{"site", nodes + "[cluster]\nsite = ./my site\n", "site " + siteID + ", m [a.zeek local.zeek z.zeek], w []"},
		{"site by its ID", "[cluster]\nsite = sha256:" + siteID + "\n" + nodes, "site " + siteID + ", m [a.zeek local.zeek z.zeek], w []"},
		{"scripts", "[cluster]\nscripts = local.zeek 'b c' local.zeek\n" + nodes, "site , m [local.zeek b c a.zeek z.zeek], w [local.zeek b c]"},
		{"scripts at the end", nodes + "[cluster]\nSCRIPTS = z.zeek\n", "site , m [z.zeek a.zeek local.zeek], w [z.zeek]"},
		{"nothing in it", nodes + "[cluster]\nscripts =\n", "site , m [a.zeek local.zeek z.zeek], w []"},
		{"inherited", "[DEFAULT]\nscripts = d.zeek\nrole = proxy\n[cluster]\nsite = ./my site\n[p]\n", "site " + siteID + ", p [d.zeek]"},
		{"a node", nodes + "[cluster]\nrole = logger\nsite = ./x\n", "site , m [a.zeek local.zeek z.zeek], w [], cluster []\nignoring unexpected keys: site (c.cfg:9)"},
		{"a node by type", "[cluster]\ntype = logger\n", "site , cluster []\nignoring unexpected keys: type (c.cfg:2)"},
		{"errors", "[cluster]\nsite = bad\nscripts = 'x\ninstance = i\nsites = ./x\n[m]\n", `site "bad": "a" is a device (c.cfg:2)
site "bad": "b" is a socket (c.cfg:2)
scripts of the cluster: No closing quotation (c.cfg:3)
section [cluster] has no key "instance", only args, backend, env, log_expiry, memory_limit, networks, scripts and site (c.cfg:4)
section [cluster] has no key "sites", only args, backend, env, log_expiry, memory_limit, networks, scripts and site (c.cfg:5)
invalid node "m" configuration: node requires a role (c.cfg:6)`},
		{"no directory", "[cluster]\nsite =\n", "site requires a directory (c.cfg:2)"},
		{"no value", "[cluster]\nsite\n", "site requires a directory (c.cfg:2)"},
		{"nothing there", "[cluster]\nsite = ./x\n", "no such directory (c.cfg:2)"},
		{"malformed ID", "[cluster]\nsite = sha256:0123\n", `site "sha256:0123" is not sha256: and 64 hexadecimal digits in lower case (c.cfg:2)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, warnings, err := clusterfile.Parse("c.cfg", strings.NewReader(tt.text), withSites)
			got := fmt.Sprint("site ", c.Site)
			for _, n := range c.Nodes {
				got += fmt.Sprintf(", %s %v", n.Name, n.Scripts)
			}
			if len(warnings) > 0 {
				got += "\n" + warnings.Error()
			}
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	// zeek-client has no such section.
	_, _, err := clusterfile.Parse("c.cfg", strings.NewReader("[cluster]\nsite = bad\n"), clusterfile.Options{})
	if want := `invalid node "cluster" configuration: node requires a role (c.cfg:1)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestClusterRoundTrip writes random configurations with sites and scripts of the
// cluster, and parses the result.
func TestClusterRoundTrip(t *testing.T) {
	script := rapid.StringMatching(`[ -~]{1,5}`)
	rapid.Check(t, func(t *rapid.T) {
		c := configurations().Draw(t, "configuration")
		common := rapid.SliceOfNDistinct(script, 0, 3, rapid.ID).Draw(t, "scripts")
		for i, n := range c.Nodes {
			for _, s := range n.Scripts {
				for _, other := range common {
					if s == other {
						t.Skip("a script occurs twice")
					}
				}
			}
			if all := append(append([]string(nil), common...), n.Scripts...); len(all) > 0 {
				c.Nodes[i].Scripts = all
			}
		}
		if rapid.Bool().Draw(t, "has a site") {
			c.Site = siteID
		}
		ini, err := clusterfile.INI(c)
		if err != nil {
			t.Fatalf("INI: %v", err)
		}
		got, _, err := clusterfile.Parse("x", bytes.NewReader(ini), withSites)
		if err != nil {
			t.Fatalf("Parse: %v\n%s", err, ini)
		}
		got.ID = c.ID
		a, errA := record.Marshal(c)
		b, errB := record.Marshal(got)
		if errA != nil || errB != nil || !broker.Equal(a, b) {
			t.Fatalf("wrote %v, read %v from\n%s", a, b, ini)
		}
	})
}

func TestINIWithSite(t *testing.T) {
	c := zeekapi.Configuration{Site: siteID, Nodes: []zeekapi.Node{
		{Name: "b", Instance: "i", Role: zeekapi.RoleWorker, Scripts: []string{"z", "a b", "c"}},
		{Name: "a", Instance: "i", Role: zeekapi.RoleProxy, Scripts: []string{"z"}},
	}}
	want := "[cluster]\nsite = sha256:" + siteID + "\nscripts = z\n\n[a]\ninstance = i\nrole = PROXY\n\n" +
		"[b]\ninstance = i\nrole = WORKER\nscripts = \"a b\" c\n\n"
	if ini, err := clusterfile.INI(c); err != nil || string(ini) != want {
		t.Errorf("%v\n%s", err, cmp.Diff(want, string(ini)))
	}
	// What no file can say is sorted.
	c.Nodes[1].Scripts = nil
	if ini, err := clusterfile.INI(c); err != nil || !strings.Contains(string(ini), "scripts = \"a b\" c z\n") {
		t.Errorf("%v\n%s", err, ini)
	}
	c.Nodes[1].Name = "cluster"
	if ini, err := clusterfile.INI(c); !errors.Is(err, configparser.ErrUnwritable) {
		t.Errorf("%v\n%s", err, ini)
	}
	c.Site = ""
	if ini, err := clusterfile.INI(c); err != nil {
		t.Errorf("a node named cluster: %v\n%s", err, ini)
	}
}

func TestJSONWithSite(t *testing.T) {
	text, err := clusterfile.JSON(zeekapi.Configuration{ID: "x", Site: siteID})
	if want := `{"id":"x","instances":[],"nodes":[],"site":"` + siteID + `"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	c, err := clusterfile.ParseJSON("c.json", bytes.NewReader(text), clusterfile.Options{})
	if err != nil || c.Site != siteID {
		t.Errorf("%+v, %v", c, err)
	}
	for _, text := range []string{"{\n\"site\": \"./site\"}", "{\n\"site\": 1}"} {
		if _, err := clusterfile.ParseJSON("c.json", strings.NewReader(text), withSites); err == nil || !strings.Contains(err.Error(), "c.json:2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Nodes share a CPU by mistake, unless they have the same list of several.
func TestAdviceAboutCPUs(t *testing.T) {
	c := zeekapi.Configuration{Instances: []zeekapi.Instance{{Name: "i"}}}
	for i, cpus := range [][]int64{{0, 1}, {1, 0}, {1, 2}, {4}, {3, 4}, {4}, nil} {
		n := zeekapi.Node{Name: fmt.Sprint("n", i), Instance: "i", Role: zeekapi.RoleManager}
		n.SetCPUs(cpus)
		c.Nodes = append(c.Nodes, n)
	}
	var got []string
	for _, a := range clusterfile.Advise(c) {
		if a.Key == "cpu_affinity" {
			got = append(got, fmt.Sprint(a.Zeek, " ", a.Text))
		}
	}
	several := func(node string) string {
		return fmt.Sprintf("true node %q has several CPUs; an agent of Zeek ignores them, and runs the node on any", node)
	}
	if diff := cmp.Diff([]string{
		several("n0"), several("n1"), several("n2"), `false node "n2" shares CPU 1 with node "n1"`,
		several("n4"), `false node "n4" shares CPU 4 with node "n3"`, `false node "n5" shares CPU 4 with node "n4"`,
	}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The forms for zeek-client have no options, and so no lists of CPUs.
func TestCPUsInOtherForms(t *testing.T) {
	n := zeekapi.Node{Name: "m", Instance: "i", Role: zeekapi.RoleManager, State: zeekapi.StateRunning}
	n.SetCPUs([]int64{0, 1, 8})
	c := zeekapi.Configuration{ID: "ID", Instances: []zeekapi.Instance{{Name: "i", Host: netip.IPv4Unspecified()}}, Nodes: []zeekapi.Node{n}}
	plain, err := clusterfile.PlainINI(c)
	if err != nil || strings.Contains(string(plain), "cpu_affinity") {
		t.Errorf("%v:\n%s", err, plain)
	}
	text, err := clusterfile.JSON(c)
	if err != nil || !strings.Contains(string(text), `"options":[{"name":"cpu_affinity","value":"0-1,8"}]`) {
		t.Errorf("%v:\n%s", err, text)
	}
	back, err := clusterfile.ParseJSON("c.json", bytes.NewReader(text), clusterfile.Options{})
	if err != nil || back.Nodes[0].Affinity() != "0-1,8" {
		t.Errorf("%v: %+v", err, back.Nodes)
	}
	_, _, err = clusterfile.Parse("c.cfg", strings.NewReader("[m]\nrole = manager\ncpu_affinity = 0-1\n"), clusterfile.Options{})
	if err == nil || !strings.Contains(err.Error(), `cannot convert "m.cpu_affinity" value "0-1" to int (c.cfg:3)`) {
		t.Errorf("as zeek-client: %v", err)
	}
}
