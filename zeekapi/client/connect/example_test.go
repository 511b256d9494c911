package connect_test

import (
	"context"
	"fmt"
	"log"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Connect to a controller of any Zeek version and print its instances.
func ExampleDial() {
	ctx, cancel := context.WithTimeout(context.Background(), client.DefaultTimeout)
	defer cancel()
	connection, err := connect.Dial(ctx, connect.Options{
		Address:       "controller.example:2149",
		NativeAddress: "controller.example:2150",
		Transport:     connect.Auto,
		Dialects: []*zeekapi.Dialect{
			management.Dialect(management.DefaultTopics),
			clusteragent.Dialect(clusteragent.DefaultTopics),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	c := client.New(connection, connection.Dialect)
	defer c.Close()
	instances, err := c.GetInstances(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range instances {
		fmt.Println(i.Name, i.Host)
	}
}
