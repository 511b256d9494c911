package client_test

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

// Connect a client to a fake controller. Package connect connects to a real one.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), client.DefaultTimeout)
	defer cancel()
	cluster := fake.SampleCluster("sensor")
	controller, err := fake.NewController(ctx, fake.Config{Instances: []string{"sensor"}, Cluster: &cluster})
	if err != nil {
		log.Fatal(err)
	}
	defer controller.Close()

	c := client.New(controller.Bus(), controller.Dialects()...)
	defer c.Close()
	results, err := c.Restart(ctx, "worker-1", "worker-7")
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Printf("%s %t %q\n", r.Node, r.Success, r.Error)
	}

	// A refused request is an error.
	_, err = c.Stage(ctx, zeekapi.Configuration{ID: "c", Nodes: []zeekapi.Node{{Name: "w", Instance: "nowhere", Role: zeekapi.RoleWorker}}})
	if refused := (*client.RefusedError)(nil); errors.As(err, &refused) {
		fmt.Println("refused:", len(refused.Texts) > 0)
	}
	// Output:
	// worker-1 true ""
	// worker-7 false "unknown cluster node"
	// refused: true
}

// Do makes any request of the registry, also one without a method of Client.
func ExampleDo() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	controller, err := fake.NewController(ctx, fake.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer controller.Close()
	c := client.New(controller.Bus(), controller.Dialects()...)
	defer c.Close()

	response, err := client.Do(ctx, c, zeekapi.GetPastCall, zeekapi.GetPastRequest{Number: 7})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Result.Success, response.Result.Error)
	// Output: false no deployment 7 in the history
}
