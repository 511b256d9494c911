package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/membus"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Run rejects an invalid configuration before it starts.
func TestRunRejectsInvalidConfig(t *testing.T) {
	bus := membus.New().Endpoint()
	defer bus.Close()
	buses := []broker.Bus{bus}
	for _, tt := range []struct {
		want string
		cfg  controller.Config
	}{
		{"no buses", controller.Config{}},
		{"bus that is nil", controller.Config{Buses: []broker.Bus{nil}, Dialects: dialects}},
		{"no dialects", controller.Config{Buses: buses}},
		{"Beat is -1s", controller.Config{Buses: buses, Dialects: dialects, Beat: -time.Second}},
		{"RequestTimeout is -1s", controller.Config{Buses: buses, Dialects: dialects, Settings: controller.Settings{RequestTimeout: -time.Second}}},
		{"StatusInterval is -1s", controller.Config{Buses: buses, Dialects: dialects, Settings: controller.Settings{StatusInterval: -time.Second}}},
	} {
		if err := controller.Run(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Run: %v, want %s", err, tt.want)
		}
	}
}

// The zero Settings have the default request timeout.
func TestZeroSettingsHaveDefaultTimeout(t *testing.T) {
	m := newMachine(controller.Settings{}, controller.State{}, nil, zerolog.Nop())
	m.Start(testStart)
	m.Step(testStart, controller.FromClient{Message: zeekapi.TestTimeoutRequest{ReqID: reqID("r"), WithState: true}})
	if at, ok := m.Deadline(); !ok || at.Sub(testStart) != controller.DefaultRequestTimeout {
		t.Errorf("the request times out at %v, %v", at, ok)
	}
}
