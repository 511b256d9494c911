package clientcmd

import (
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Draining a group must not stop nodes of other groups.
func TestInstancesOfGroup(t *testing.T) {
	node := func(name, instance, groups string) zeekapi.Node {
		n := zeekapi.Node{Name: name, Instance: instance}
		if groups != "" {
			n.Options = []zeekapi.Option{{Name: zeekapi.OptionGroup, Value: groups}}
		}
		return n
	}
	config := zeekapi.Configuration{Nodes: []zeekapi.Node{
		node("w1", "one", "east"), node("w2", "two", "east"), node("w3", "two", "east"),
		node("w4", "three", "west"), node("m", "three", ""),
	}}
	if got, err := instancesOf(config, "east"); err != nil || !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("east has %q, %v", got, err)
	}
	for group, want := range map[string]string{"west": "three also has the node m, which is not in the group west", "north": `no node is in the group "north"`} {
		if got, err := instancesOf(config, group); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s has %q, %v, want %s", group, got, err, want)
		}
	}
}
