package zeekapi

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNodesOfInstances(t *testing.T) {
	b, a, other := Node{Name: "b", Instance: "i"}, Node{Name: "a", Instance: "i"}, Node{Name: "c", Instance: "j"}
	c := Configuration{Instances: []Instance{{Name: "i"}, {Name: "j"}, {Name: "k"}}, Nodes: []Node{b, other, a}}
	want := map[string][]Node{"i": {a, b}, "j": {other}, "k": nil}
	if diff := cmp.Diff(want, c.NodesByInstance()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, i := range c.Instances {
		if diff := cmp.Diff(want[i.Name], c.NodesOn(i.Name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", i.Name, diff)
		}
	}
}
