package clusterfile_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

var update = flag.Bool("update", false, "write the .want files of the corpus")

func TestParseFiles(t *testing.T) { compareFiles(t, "ini", describe) }

// compareFiles compares the results of result for the files in a directory of
// testdata/clusters with the .want files beside them.
func compareFiles(t *testing.T, dir string, result func(t *testing.T, name string, text []byte) string) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/clusters/" + dir + "/*.cfg")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".cfg"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := result(t, name, text)
			wantPath := strings.TrimSuffix(path, ".cfg") + ".want"
			if *update {
				if err := os.WriteFile(wantPath, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(wantPath)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// describe returns the complete result of parsing a file as text.
func describe(t *testing.T, name string, text []byte) string {
	var b strings.Builder
	c, warnings, err := clusterfile.Parse(name, bytes.NewReader(text), clusterfile.Options{Hostname: "testhost"})
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	var errs configparser.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			fmt.Fprintf(&b, "error: %v\n", e)
		}
		return b.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.ID = "ID"
	ini, err := clusterfile.INI(c)
	if err != nil {
		fmt.Fprintf(&b, "cannot write: %v\n", err)
	}
	json, err := clusterfile.JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%s%s\n", ini, json)
	return b.String()
}

func TestParseReturnsNewIDs(t *testing.T) {
	a, _, errA := clusterfile.Parse("a", strings.NewReader(""), clusterfile.Options{})
	b, _, errB := clusterfile.Parse("b", strings.NewReader(""), clusterfile.Options{})
	if errA != nil || errB != nil || a.ID == "" || a.ID == b.ID {
		t.Errorf("IDs %q and %q, errors %v and %v", a.ID, b.ID, errA, errB)
	}
}

func TestErrorsHavePosition(t *testing.T) {
	_, _, err := clusterfile.Parse("c.cfg", strings.NewReader("[m]\nrole = manager\n\nport = 0\n"), clusterfile.Options{})
	var e *configparser.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v", err)
	}
	want := configparser.Error{File: "c.cfg", Line: 4, Section: "m", Key: "port",
		Text: `invalid node "m" configuration: port 0 outside valid range`}
	if *e != want {
		t.Errorf("got %+v, want %+v", *e, want)
	}
}

func TestParseResolvesHostNames(t *testing.T) {
	hosts := map[string][]string{
		"one.example": {"10.0.0.1"}, "same.example": {"10.0.0.2", "::ffff:10.0.0.2"},
		"two.example": {"fd00::1", "10.0.0.3"}, "none.example": {},
	}
	o := clusterfile.Options{Resolve: func(host string) (addrs []netip.Addr, err error) {
		texts, ok := hosts[host]
		if !ok {
			return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.9.9.9:53"}
		}
		for _, text := range texts {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		return addrs, nil
	}}
	for host, want := range map[string]string{
		"one.example": "10.0.0.1", "same.example": "10.0.0.2", "10.0.0.9": "10.0.0.9", "[fd00::9]": "fd00::9",
		"two.example":  `host "two.example" has several addresses, [10.0.0.3 fd00::1]: use the one that its agent listens on`,
		"none.example": `host "none.example" has no address`,
		"gone.example": `host "gone.example" cannot be resolved: no such host`,
		"fd00::zz":     `host "fd00::zz" is not an IP address`,
		"fe80::1%eth0": `host "fe80::1%eth0" has a zone, and addresses in Zeek have none: nodes on other machines could not connect to it. Use an address that is not link-local`,
	} {
		text := strings.ReplaceAll("[instances]\na = "+host+":2151\n", "%", "%%")
		c, _, err := clusterfile.Parse("x", strings.NewReader(text), o)
		got := ""
		if err == nil {
			got = c.Instances[0].Host.String()
		} else {
			want = `invalid spec for instance "a": ` + want + " (x:2)"
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

// TestINIRoundTrip writes random configurations and parses the result.
func TestINIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := configurations().Draw(t, "configuration")
		ini, err := clusterfile.INI(c)
		if err != nil {
			t.Fatalf("INI: %v", err)
		}
		got, _, err := clusterfile.Parse("x", bytes.NewReader(ini), clusterfile.Options{})
		if err != nil {
			t.Fatalf("Parse: %v\n%s", err, ini)
		}
		got.ID = c.ID
		a, errA := record.Marshal(c)
		b, errB := record.Marshal(got)
		if errA != nil || errB != nil || !broker.Equal(a, b) {
			t.Fatalf("wrote %v, parsed %v from\n%s", a, b, ini)
		}
	})
}

func configurations() *rapid.Generator[zeekapi.Configuration] {
	instanceName := rapid.StringMatching(`[a-z][a-z0-9.-]{0,8}`)
	nodeName := rapid.StringMatching(`[A-Za-z][A-Za-z0-9.\[%-]{0,8}`).Filter(func(s string) bool {
		return s != "instances" && s != "DEFAULT"
	})
	text := rapid.StringMatching(`[ -~éü]{0,12}`)
	noComment := strings.NewReplacer("#", "", ";", "")
	port := rapid.Custom(func(t *rapid.T) broker.Port {
		if rapid.Bool().Draw(t, "absent") {
			return broker.Port{}
		}
		return broker.TCP(rapid.Uint16Min(1).Draw(t, "number"))
	})
	return rapid.Custom(func(t *rapid.T) zeekapi.Configuration {
		c := zeekapi.Configuration{ID: "ID", Instances: []zeekapi.Instance{}, Nodes: []zeekapi.Node{}}
		names := rapid.SliceOfNDistinct(instanceName, 1, 4, rapid.ID).Draw(t, "instances")
		for _, name := range names {
			i := zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified(), Port: port.Draw(t, "port")}
			if !i.Connects() {
				i.Host = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "host"))).Unmap()
			}
			c.Instances = append(c.Instances, i)
		}
		for _, name := range rapid.SliceOfNDistinct(nodeName, 0, 4, rapid.ID).Draw(t, "nodes") {
			n := zeekapi.Node{
				Name: name, Instance: rapid.SampledFrom(names).Draw(t, "instance"),
				Role:  rapid.SampledFrom([]zeekapi.ClusterRole{zeekapi.RoleManager, zeekapi.RoleWorker, zeekapi.RoleNone}).Draw(t, "role"),
				State: zeekapi.StateRunning,
				Port:  port.Draw(t, "port"), MetricsPort: port.Draw(t, "metrics port"),
				Interface: strings.TrimSpace(noComment.Replace(text.Draw(t, "interface"))),
				Env:       rapid.MapOfN(rapid.StringMatching(`[A-Z_]{1,5}`), text, 0, 3).Draw(t, "env"),
			}
			if scripts := rapid.SliceOfN(text, 0, 3).Draw(t, "scripts"); len(scripts) > 0 {
				slices.Sort(scripts)
				n.Scripts = scripts
			}
			if rapid.Bool().Draw(t, "pinned") {
				cpu := rapid.Int64().Draw(t, "cpu")
				n.CPUAffinity = &cpu
			}
			c.Nodes = append(c.Nodes, n)
		}
		return c
	})
}

func TestINIRejectsInvalidNames(t *testing.T) {
	instance := func(names ...string) (c zeekapi.Configuration) {
		for _, name := range names {
			c.Instances = append(c.Instances, zeekapi.Instance{Name: name})
		}
		return c
	}
	node := func(names ...string) (c zeekapi.Configuration) {
		for _, name := range names {
			c.Nodes = append(c.Nodes, zeekapi.Node{Name: name, Role: zeekapi.RoleWorker})
		}
		return c
	}
	tests := map[string]zeekapi.Configuration{
		"node named instances":          node("instances"),
		"node DEFAULT":                  node("DEFAULT"),
		"node without name":             node(""),
		"node with newline":             node("a\nb"),
		"duplicate node name":           node("a", "a"),
		"instance without name":         instance(""),
		"instance with newline":         instance("a\nb"),
		"instance that begins with #":   instance("#a"),
		"instance in brackets":          instance("[a]"),
		"instance with equals sign":     instance("a=b"),
		"instance with colon":           instance("a:b"),
		"instance with leading space":   instance(" a"),
		"instances that differ in case": instance("A", "a"),
		"instance and a node":           {Instances: instance("x=").Instances, Nodes: node("a").Nodes},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if ini, err := clusterfile.INI(c); !errors.Is(err, configparser.ErrUnwritable) {
				t.Errorf("got %q, error %v", ini, err)
			}
		})
	}
}

// Unusual values are read as they were, or are refused.
func TestINIOfUnusualValues(t *testing.T) {
	values := map[string]bool{ // whether an INI file can have the value
		"eth0 ": true, "\f": true, "a\x1e": true, "\u00a0b": true, "it's": true, "50%": true, "a\tb": true, "a\n\nb": true, "a ; b": true, "#": true,
		"a\n#b": false, "a \nb": false, "a\r": false, "\xff": false, "a\nport=1": false, "a\nb ; c": false,
	}
	for value, writable := range values {
		checkWritable(t, fmt.Sprintf("env %q", value), writable, func(_ *zeekapi.Instance, n *zeekapi.Node) { n.Env = map[string]string{"E": value} })
	}
	for name, set := range map[string]func(*zeekapi.Instance, *zeekapi.Node){
		"interface with a comment": func(_ *zeekapi.Instance, n *zeekapi.Node) { n.Interface = "eth0 #x" },
		"node with a comment":      func(_ *zeekapi.Instance, n *zeekapi.Node) { n.Name = "n #x" },
		"instance with a comment":  func(i *zeekapi.Instance, n *zeekapi.Node) { i.Name, n.Instance = "i #x", "i #x" },
		"variable with =":          func(_ *zeekapi.Instance, n *zeekapi.Node) { n.Env = map[string]string{"a=b": "c"} },
	} {
		checkWritable(t, name, false, set)
	}
}

// checkWritable checks whether an INI file can have what set does to a configuration.
func checkWritable(t *testing.T, name string, writable bool, set func(*zeekapi.Instance, *zeekapi.Node)) {
	t.Run(name, func(t *testing.T) {
		c := zeekapi.Configuration{
			Instances: []zeekapi.Instance{{Name: "i", Host: netip.IPv4Unspecified()}},
			Nodes:     []zeekapi.Node{{Name: "n", Instance: "i", Role: zeekapi.RoleWorker, Scripts: []string{"x"}}},
		}
		set(&c.Instances[0], &c.Nodes[0])
		if ini, err := clusterfile.INI(c); err == nil != writable || !writable && !errors.Is(err, configparser.ErrUnwritable) {
			t.Errorf("error %v\n%s", err, ini)
		}
		checkINI(t, c)
	})
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../../testdata/clusters/*/*.cfg")
	if err != nil || len(files) == 0 {
		f.Fatalf("no test files: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("[cluster]\nsite = sha256:" + siteID + "\nscripts = b a\n[m]\nrole = manager\nscripts = c a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzParse(t, text, clusterfile.Options{Hostname: "h"})
		fuzzParse(t, text, withSites)
	})
}

func fuzzParse(t *testing.T, text []byte, o clusterfile.Options) {
	c, _, err := clusterfile.Parse("x", bytes.NewReader(text), o)
	if err != nil {
		if err.Error() == "" {
			t.Error("the error has no text")
		}
		return
	}
	if _, err := record.Marshal(c); err != nil {
		t.Fatalf("a parsed configuration cannot be encoded and decoded: %v", err)
	}
	if _, err := clusterfile.JSON(c); err != nil {
		t.Fatal(err)
	}
	clusterfile.Advise(c)
	places := clusterfile.FindPlaces(text, o.Extended)
	for _, n := range c.Nodes {
		if places.Node(n.Name, "") == 0 && !clusterfile.IsJSON(text) {
			t.Errorf("node %q has no place", n.Name)
		}
	}
	checkINI(t, c)
}

// checkINI checks that what an INI file has of a configuration is read as the same.
func checkINI(t *testing.T, c zeekapi.Configuration) {
	ini, err := clusterfile.INI(c)
	if err != nil {
		if !errors.Is(err, configparser.ErrUnwritable) {
			t.Error(err)
		}
		return
	}
	thorough := withSites
	thorough.Thorough = true
	again, _, err := clusterfile.Parse("y", bytes.NewReader(ini), thorough)
	if err != nil {
		t.Fatalf("the written file cannot be parsed: %v\n%q", err, ini)
	}
	if len(c.Instances) == 0 {
		again.Instances = nil // those that nodes name
	}
	if a, b := written(t, c), written(t, again); a != b {
		t.Fatalf("from\n%s\nwas read\n%s\nand not\n%s", ini, b, a)
	}
}

// written returns as JSON what an INI file has of a configuration.
func written(t *testing.T, c zeekapi.Configuration) string {
	c.ID, c.Instances = "", slices.Clone(c.Instances)
	for i := range c.Instances {
		c.Instances[i].Name = strings.ToLower(c.Instances[i].Name)
		if c.Instances[i].Connects() {
			c.Instances[i].Host = netip.IPv4Unspecified()
		}
	}
	text, err := clusterfile.JSON(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
