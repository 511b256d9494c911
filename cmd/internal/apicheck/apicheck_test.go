package apicheck

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// sample contains the constructs in the declarations of Zeek's APIs, and text
// that only resembles declarations.
const sample = `
@load base/frameworks/other
##! type Not: record { a: count; };
module Fruit;

export {
	const limit = 5 &redef; # type Neither: record {
	type Colour: enum {
		RED, ##< like a cherry
	};
	type Crate: record {
		name: string &default="}; type No: record { x: count; }";
		colour: Colour &default=RED;
		weight: double &optional; ##< in kg
		labels: table[string] of string &default=table();
	};
	type CrateVec: vector of Crate;
	global shown: function(c: Crate): string;
	global counts: table[string] of count = table();
}

module Fruit::API;
export {
	global deliver: event(reqid: string, crates: Fruit::CrateVec,
	    rush: bool &default=F, tags: set[string] &default=set());
	global forgotten: event(reqid: string);
	global internal: event();
}

event zeek_init() { if ( |counts| > 0 ) print "type Nor: record {"; }
`

type crate struct {
	Name   string            `zeek:"name"`
	Colour string            `zeek:"colour,enum=Fruit"`
	Weight float64           `zeek:"weight,optional"`
	Labels map[string]string `zeek:"labels"`
	Origin string            `zeek:"origin,trailing"`
}

type deliver struct {
	zeekapi.ReqID
	Crates []crate  `zeek:"crates"`
	Rush   bool     `zeek:"rush"`
	Tags   []string `zeek:"tags,set"`
}

// wrong contains every kind of difference.
type wrong struct {
	zeekapi.ReqID
	Boxes  []crate      `zeek:"boxes"`
	Rush   uint64       `zeek:"rush,optional"`
	Tags   []uint64     `zeek:"tags,set"`
	Beyond broker.Value `zeek:"beyond"`
}

func TestCompare(t *testing.T) {
	api, err := Read(fstest.MapFS{"fruit/api.zeek": {Data: []byte(sample)}, "fruit/README": {Data: []byte("type")}})
	if err != nil {
		t.Fatal(err)
	}
	right := zeekapi.NewDialect("Right", zeekapi.Topics{},
		zeekapi.Declare[deliver]("Fruit::API::deliver", zeekapi.ControllerAPI, "5.0"))
	right.Records = map[string]record.Type{"Fruit::Crate": record.TypeOf[crate]()}
	for _, tt := range []struct {
		name    string
		dialect *zeekapi.Dialect
		want    []string
	}{
		{"right", right, []string{"event Fruit::API::forgotten: not in dialect Right"}},
		{"wrong", zeekapi.NewDialect("Wrong", zeekapi.Topics{},
			zeekapi.Declare[wrong]("Fruit::API::deliver", zeekapi.ControllerAPI, "5.0"),
			zeekapi.Declare[zeekapi.DeployRequest]("Fruit::API::deploy", zeekapi.ControllerAPI, "5.0")),
			[]string{
				"event Fruit::API::deliver: field 2 is boxes, in the scripts crates",
				"event Fruit::API::deliver.rush: optional is true, in the scripts false",
				"event Fruit::API::deliver.rush: is count, in the scripts bool",
				"event Fruit::API::deliver.tags[index]: is count, in the scripts string",
				"event Fruit::API::deliver: field 5, beyond, is not in the scripts",
				"event Fruit::API::deploy: not in the scripts",
				"event Fruit::API::forgotten: not in dialect Wrong",
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Compare(tt.dialect, api, "Fruit::API::internal")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"cut off":   {"type A: record { a: string", "type A: a: the file ends too early"},
		"no colon":  {"type A: record { a; };", `type A: a: found ";", want ":"`},
		"unknown":   {"global e: event(a: Nowhere);", "event e: a: unknown type Nowhere"},
		"recursive": {"type A: record { a: vector of A; }; global e: event(a: A);", "type A contains itself"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(fstest.MapFS{"x.zeek": {Data: []byte(tt.script)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, script string) {
		_, _ = Read(fstest.MapFS{"x.zeek": {Data: []byte(script)}}) // must return and not panic
	})
}
