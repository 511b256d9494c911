package controller

import (
	"net/netip"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The plan of a revision is reused while the addresses are the same.
func TestPlanIsReused(t *testing.T) {
	at := func(host string) zeekapi.Configuration {
		return zeekapi.Configuration{ID: "c", Instances: []zeekapi.Instance{{Name: "a", Host: netip.MustParseAddr(host)}}}
	}
	configs := newConfigurations(new(outbox), nil)
	p := &plans{configs: configs}
	one, same := configs.revise(at("0.0.0.0")), configs.revise(at("0.0.0.0"))
	first := p.of(one, at("10.0.0.1"))
	if again := p.of(one, at("10.0.0.1")); again != first {
		t.Error("the plan was not reused")
	}
	moved := p.of(one, at("10.0.0.2"))
	if moved.content == first.content || moved.number == first.number {
		t.Error("the plan was reused with another address")
	}
	if other := p.of(same, at("10.0.0.2")); other.content != moved.content || other.number == moved.number {
		t.Error("two revisions with the same content have the same number")
	}
}
