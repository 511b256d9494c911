package controller

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Every request that clients make of controllers has a handler, and no other
// request has one.
func TestHandlers(t *testing.T) {
	m, err := NewMachine(Settings{}, State{}, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for request := range zeekapi.Requests() {
		if _, ok := m.handlers[request]; ok != (request.API == zeekapi.ControllerAPI) {
			t.Errorf("%s: has a handler: %t", request.Name, ok)
		}
	}
}
