package zeekapi_test

import (
	"fmt"
	"log"
	"net/netip"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Respond to the event of a client as a controller does. The event comes from a bus
// that is subscribed to the dialect's controller topic, and the response is
// published on the same topic.
func ExampleDialect() {
	dialect := management.Dialect(management.DefaultTopics)
	event := broker.NewEvent("Management::Controller::API::get_instances_request", broker.String("id-1"))

	message, err := dialect.Decode(event)
	if err != nil {
		log.Fatal(err)
	}
	switch request := message.(type) {
	case zeekapi.GetInstancesRequest:
		data, err := record.Marshal([]zeekapi.Instance{{Name: "instance-1", Host: netip.MustParseAddr("10.0.0.1")}})
		if err != nil {
			log.Fatal(err)
		}
		answer, err := dialect.Encode(zeekapi.GetInstancesResponse{
			ReqID:  request.ReqID,
			Result: zeekapi.Result{ReqID: request.ID, Success: true, Data: data},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.Name, "to", dialect.Topics.Controller)
	}
	// Output: Management::Controller::API::get_instances_response to zeek/management/controller
}
