package clusterfile_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

func ExampleParse() {
	const file = `
[instances]
sensor-1
sensor-2 = 10.0.0.2:2151

[manager]
instance = sensor-1
role = manager

[worker]
instance = sensor-2
role = worker
speed = 10G
`
	config, warnings, err := clusterfile.Parse("cluster.cfg", strings.NewReader(file), clusterfile.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range config.Instances {
		fmt.Println(i.Name, i.Connects())
	}
	for _, n := range config.Nodes {
		fmt.Println(n.Name, n.Role, "on", n.Instance)
	}
	fmt.Println(warnings)
	// Output:
	// sensor-1 true
	// sensor-2 false
	// manager MANAGER on sensor-1
	// worker WORKER on sensor-2
	// ignoring unexpected keys: speed (cluster.cfg:13)
}
