package clientcmd

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestProcessingNode(t *testing.T) {
	nodes := []zeekapi.Node{
		{Name: "manager", Role: zeekapi.RoleManager}, {Name: "w2", Role: zeekapi.RoleWorker}, {Name: "w1", Role: zeekapi.RoleWorker},
	}
	for _, tt := range []struct {
		nodes      []zeekapi.Node
		name, want string
	}{
		{nodes, "", "w1"},
		{nodes, "manager", "manager"},
		{nodes[:1], "", "manager"},
		{nodes, "w3", "the deployed configuration has no node w3"},
		{nil, "", "the deployed configuration has no nodes"},
	} {
		n, err := processingNode(tt.nodes, tt.name)
		got := n.Name
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("node %q: %s, want %s", tt.name, got, tt.want)
		}
	}
}
