package clusterfile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// The work for the largest expansions grows with the number of nodes, and not with its
// square: otherwise this test takes minutes.
func TestLargestExpansions(t *testing.T) {
	for name, text := range map[string]string{
		"interfaces": "[w]\nrole=worker\nworkers=10000\ninterface=af_packet::eth${worker_index}\nenv=A=${worker_index}\n[group a]\nnodes=w-*\n",
		"workers":    "[w]\nrole=worker\nworkers=10000\ninterface=eth0\nenv=A=${worker_index}\n[group a]\nnodes=w-*\n",
		"instances":  "[cluster]\nscripts=a b c d e f g\n[instances]\ns-[1-10000]\n[w]\nrole=worker\ninstance=s-[1-10000]\ninterface=af_packet::eth${worker_index}\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := clusterfile.Parse("x", strings.NewReader(text), extended)
			if err != nil || len(c.Nodes) != 10_000 {
				t.Fatalf("got %d nodes, %v", len(c.Nodes), err)
			}
			clusterfile.Advise(c)
			if _, err := clusterfile.INI(c); err != nil {
				t.Error(err)
			}
			if p := clusterfile.FindPlaces([]byte(text), true); p.Node(c.Nodes[9999].Name, "interface") == 0 {
				t.Error("the last node has no place")
			}
		})
	}
}

// So does the work for a configuration with many instances.
func TestManyInstances(t *testing.T) {
	var c zeekapi.Configuration
	host := netip.MustParseAddr("10.0.0.1")
	for i := range 100_000 {
		name := fmt.Sprintf("sensor-%05d", i)
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name, Host: host})
		c.Nodes = append(c.Nodes, zeekapi.Node{Name: "logger-" + name, Instance: name, Role: zeekapi.RoleLogger})
		host = host.Next()
	}
	if found := clusterfile.Advise(c); len(found) != 3 { // there are only loggers
		t.Errorf("%d warnings, such as %v", len(found), found[0])
	}
	if found := clusterfile.Announcements(c); len(found) > 0 {
		t.Errorf("%d announcements, such as %v", len(found), found[0])
	}
}

// The expansion of short forms has a limit in bytes, too.
func TestExpansionSize(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tt := range []struct{ name, text, want string }{
		{"values", "[w]\nrole=worker\nworkers=10000\nenv=A=" + long + "\n", "have more than 67108864 bytes (x:3)"},
		{"variables", "[" + long + "]\nrole=worker\nworkers=1\nenv=A=" + strings.Repeat("${interface_section_name}", 10_000) + "\n", "env: it becomes longer than 67108864 bytes (x:4)"},
		{"cluster", "[cluster]\nscripts=" + strings.Repeat("a ", 50) + strings.Join(strings.Split(long[:200], ""), "y ") + "\nenv=" + manyVariables(200) + "\n[w]\nrole=worker\nworkers=10000\n",
			"the values of section [cluster] are too many for 10000 nodes (x:1)"},
	} {
		_, _, err := clusterfile.Parse("x", strings.NewReader(tt.text), extended)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func manyVariables(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("V" + strings.Repeat("I", i) + "=1 ")
	}
	return b.String()
}
