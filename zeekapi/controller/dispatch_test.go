package controller

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Every client request of the registry has a handler. Other requests have none.
func TestEveryClientRequestHasHandler(t *testing.T) {
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
