package fake_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster := fake.SampleCluster("alpha", "beta")
	controller, err := fake.NewController(ctx, fake.Config{Instances: []string{"alpha", "beta"}, Cluster: &cluster})
	if err != nil {
		log.Fatal(err)
	}
	defer controller.Close()

	// The program under test requests the nodes, and restarts one.
	program := client.New(controller.Bus(), controller.Dialects()...)
	defer program.Close()
	show := func() {
		instances, err := program.GetNodes(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for _, i := range instances {
			for _, n := range i.Nodes {
				if n.ManagementRole == zeekapi.ManagementNone {
					fmt.Println(i.Instance, n.Node, n.State)
				}
			}
		}
	}
	show()
	fake.Handle(controller, zeekapi.RestartCall, func(_ context.Context, q zeekapi.RestartRequest) ([]zeekapi.Result, error) {
		return nil, errors.New("not on a Saturday")
	})
	results, err := program.Restart(ctx, "worker-2")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restart:", results[0].Error)

	// A worker crashes.
	if err := controller.Agent("beta").Change(ctx, "worker-2", zeekapi.StateCrashed); err != nil {
		log.Fatal(err)
	}
	show()
	for _, m := range controller.Requests() {
		fmt.Println(zeekapi.RequestOf(m).Name)
	}
	// Output:
	// alpha logger RUNNING
	// alpha manager RUNNING
	// alpha proxy RUNNING
	// alpha worker-1 RUNNING
	// beta worker-2 RUNNING
	// restart: not on a Saturday
	// alpha logger RUNNING
	// alpha manager RUNNING
	// alpha proxy RUNNING
	// alpha worker-1 RUNNING
	// beta worker-2 CRASHED
	// get_nodes
	// restart
	// get_nodes
}
