package controller_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

func TestDryRun(t *testing.T) {
	c1 := config("c1", "a", "b")
	c1.Nodes[0].Port = broker.TCP(5000)
	b, _ := deployedBench(t, c1)
	cpu := int64(2)
	c2 := config("c2", "a", "c")
	c2.Nodes[0].CPUAffinity = &cpu
	c2.Nodes[0].Env = map[string]string{"B": "2", "A": "1"}
	c2.Nodes[0].Scripts = []string{"x", "y"}
	c2.Nodes = append(c2.Nodes, zeekapi.Node{Name: "m", Instance: "a", Role: zeekapi.RoleManager, State: zeekapi.StateRunning})
	var d zeekapi.Diff
	b.ask(zeekapi.DryRunRequest{ReqID: reqID("r1"), Config: c2}, &d)
	want(t, "diff", zeekapi.Diff{
		From: "c1", To: "c2",
		Instances: []zeekapi.Change{
			{Name: "a", Kind: "kept"},
			{Name: "b", Kind: "removed"},
			{Name: "c", Kind: "added"},
		},
		Nodes: []zeekapi.Change{
			{Name: "m", Kind: "added"},
			{Name: "wa", Kind: "changed", Fields: []zeekapi.FieldChange{
				{Field: "port", Old: "5000/tcp"},
				{Field: "scripts", New: "x y"},
				{Field: "cpu_affinity", New: "2"},
				{Field: "env", New: "A=1 B=2"},
				{Field: "metrics_port", Old: "9000/tcp", New: "9001/tcp"},
			}},
			{Name: "wb", Kind: "removed"},
			{Name: "wc", Kind: "added"},
		},
		Missing: []string{"c"},
	}, d)

	b.agent(peer(1), zeekapi.AgentDescription{Instance: "a"}) // an agent of Zeek's knows one CPU only
	c4 := config("c4", "a", "b")
	c4.Nodes[0].Port, c4.Nodes[0].Options = broker.TCP(5000), []zeekapi.Option{{Name: "x", Value: "y"}}
	c4.Nodes[0].SetCPUs([]int64{4, 0, 1})
	b.ask(zeekapi.DryRunRequest{ReqID: reqID("r1"), Config: c4}, &d)
	want(t, "several CPUs", []zeekapi.FieldChange{{Field: "options", New: "x=y"}, {Field: "cpu_affinity", New: "0-1,4"}}, d.Nodes[0].Fields)

	bad := config("c3", "a")
	bad.Nodes[0].Instance = "x"
	b.client(zeekapi.DryRunRequest{ReqID: reqID("r2"), Config: bad}, "answer DryRunResponse r2 [F node 'wa' has undeclared instance name 'x']")
	if b.saved[controller.Staged].ID != "c1" {
		t.Error("a dry run stages the configuration")
	}
}
