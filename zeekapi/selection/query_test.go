package selection

import (
	"errors"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// cluster has nodes on three instances, of which the last has none. The manager is in
// two groups.
func cluster() zeekapi.Configuration {
	c := zeekapi.Configuration{}
	for _, name := range []string{"hub", "sensor-01", "sensor-02", "spare"} {
		c.Instances = append(c.Instances, zeekapi.Instance{Name: name})
	}
	add := func(name, instance string, role zeekapi.ClusterRole, groups ...string) {
		n := zeekapi.Node{Name: name, Instance: instance, Role: role}
		for _, g := range groups {
			n.Options = append(n.Options, zeekapi.Option{Name: zeekapi.OptionGroup, Value: g})
		}
		c.Nodes = append(c.Nodes, n)
	}
	add("worker-02-1", "sensor-02", zeekapi.RoleWorker, "west")
	add("manager", "hub", zeekapi.RoleManager, "core", "east")
	add("logger", "hub", zeekapi.RoleLogger, "core")
	add("worker-01-1", "sensor-01", zeekapi.RoleWorker, "east")
	add("worker-01-2", "sensor-01", zeekapi.RoleWorker, "east")
	return c
}

func TestNodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "logger manager worker-01-1 worker-01-2 worker-02-1"},
		{"names", Query{Words: []string{"manager", "logger", "manager"}}, "logger manager"},
		{"glob and name", Query{Words: []string{"worker-*-1", "logger"}}, "logger worker-01-1 worker-02-1"},
		{"pattern", Query{Words: []string{"worker-01-[1-2]"}}, "worker-01-1 worker-01-2"},
		{"part of a pattern", Query{Words: []string{"worker-[01-40]-1"}}, "worker-01-1 worker-02-1"},
		{"words of all kinds", Query{Words: []string{"role:logger", "group:west", "instance:sensor-01"}}, "logger worker-01-1 worker-01-2 worker-02-1"},
		{"role of no node", Query{Words: []string{"role:proxy", "manager"}}, "manager"},
		{"role", Query{Roles: []zeekapi.ClusterRole{zeekapi.RoleManager, zeekapi.RoleWorker}}, "manager worker-01-1 worker-01-2 worker-02-1"},
		{"group", Query{Groups: []string{"east"}}, "manager worker-01-1 worker-01-2"},
		{"groups by glob", Query{Groups: []string{"?ast", "w*"}}, "manager worker-01-1 worker-01-2 worker-02-1"},
		{"instances by pattern", Query{Instances: []string{"sensor-[01-02]"}}, "worker-01-1 worker-01-2 worker-02-1"},
		{"role of a group", Query{Groups: []string{"east"}, Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}}, "worker-01-1 worker-01-2"},
		{"glob on an instance", Query{Words: []string{"*-1"}, Instances: []string{"sensor-02"}}, "worker-02-1"},
		{"all kinds", Query{Words: []string{"*"}, Groups: []string{"east"}, Instances: []string{"hub", "spare"}, Roles: []zeekapi.ClusterRole{zeekapi.RoleManager}}, "manager"},
	} {
		got, err := tt.q.Nodes(cluster())
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%s: got %v, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

func TestNodesNotFound(t *testing.T) {
	for _, tt := range []struct {
		q    Query
		want string
	}{
		{Query{Words: []string{"manager", "proxy"}}, `there is no node "proxy", only logger, manager, worker-01-1, worker-01-2, worker-02-1`},
		{Query{Words: []string{"proxy-*"}}, `no node matches "proxy-*", only logger, manager, worker-01-1, worker-01-2, worker-02-1`},
		{Query{Words: []string{"group:north"}}, `there is no group "north", only core, east, west`},
		{Query{Words: []string{"instance:x"}}, `there is no instance "x", only hub, sensor-01, sensor-02, spare`},
		{Query{Words: []string{"role:boss"}}, `role "boss": want manager, logger, proxy or worker`},
		{Query{Groups: []string{"north"}}, `there is no group "north", only core, east, west`},
		{Query{Instances: []string{"x-[2-1]"}}, `instance: pattern "x-[2-1]": range 2-1 ends before it begins`},
		{Query{Groups: []string{"a["}}, `group: "a[" is not a valid glob`},
		{Query{Instances: []string{"spare"}}, `no node of the configuration is selected`},
		{Query{Words: []string{"manager"}, Groups: []string{"west"}}, `no node of the configuration is selected`},
		{Query{Roles: []zeekapi.ClusterRole{zeekapi.RoleProxy}}, `no node of the configuration is selected`},
	} {
		if got, err := tt.q.Nodes(cluster()); err == nil || err.Error() != tt.want {
			t.Errorf("%+v: got %v, %v, want %s", tt.q, got, err, tt.want)
		}
	}
	_, err := Query{Groups: []string{"x"}}.Nodes(zeekapi.Configuration{Nodes: []zeekapi.Node{{Name: "n"}}})
	var missing *NotFoundError
	if !errors.As(err, &missing) || err.Error() != `there is no group "x"; the configuration has no groups` {
		t.Errorf("without groups: %v", err)
	}
}

func TestQueryKinds(t *testing.T) {
	for _, tt := range []struct {
		q          Query
		all, names bool
	}{
		{Query{}, true, true},
		{Query{Words: []string{"a", "b"}}, false, true},
		{Query{Words: []string{"a*"}}, false, false},
		{Query{Words: []string{"a[1]"}}, false, false},
		{Query{Words: []string{"group:a"}}, false, false},
		{Query{Words: []string{"a"}, Groups: []string{"b"}}, false, false},
		{Query{Roles: []zeekapi.ClusterRole{zeekapi.RoleWorker}}, false, false},
	} {
		if tt.q.All() != tt.all || tt.q.Names() != tt.names {
			t.Errorf("%+v: all %t, names %t", tt.q, tt.q.All(), tt.q.Names())
		}
	}
}
