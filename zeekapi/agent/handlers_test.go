package agent

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestHandlers checks that every request of the agents' API has a handler, and no
// other request.
func TestHandlers(t *testing.T) {
	for request := range zeekapi.Requests() {
		if _, ok := handlers[request]; ok != (request.API == zeekapi.AgentAPI) {
			t.Errorf("%s: has a handler: %t", request.Name, ok)
		}
	}
}
