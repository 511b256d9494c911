package record_test

import (
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
)

// The argument of the event is a record that is defined in Zeek as
//
//	type Transfer: record {
//	        client: addr;
//	        took: interval;
//	        names: set[string];
//	        note: string &optional;
//	};
func ExampleUnmarshal() {
	event := broker.NewEvent("transferred", broker.Vector(
		broker.Address(netip.MustParseAddr("10.0.0.1")),
		broker.Timespan(1500*time.Millisecond),
		broker.Set(broker.String("a"), broker.String("b")),
		broker.None(),
	))
	var transfer struct {
		Client netip.Addr    `zeek:"client"`
		Took   time.Duration `zeek:"took"`
		Names  []string      `zeek:"names,set"`
		Note   string        `zeek:"note,optional"`
	}
	if err := record.Unmarshal(event.Args[0], &transfer); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%+v\n", transfer)
	// Output: {Client:10.0.0.1 Took:1.5s Names:[a b] Note:}
}
