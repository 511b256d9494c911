package clientcmd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestArrival(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name          string
		changed, wait time.Duration // changed is relative to now
	}{
		{"just now", 0, arrivalTime},
		{"a while ago", -5 * time.Second, arrivalTime - 5*time.Second},
		{"too long ago", -arrivalTime, 0},
		{"never", -now.Sub(time.Time{}), 0},
		{"the clock here is a little behind", 5 * time.Second, arrivalTime},
		{"the clock here is wrong", time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := arrival(now.Add(test.changed), now).Sub(now); got != test.wait {
				t.Errorf("waits for %v, want %v", got, test.wait)
			}
		})
	}
}

func TestHelpHasArrivalTime(t *testing.T) {
	if want := fmt.Sprintf("For %.0f s after the controller has started", arrivalTime.Seconds()); !strings.Contains(deployHelp, want) {
		t.Errorf("no %q in the help of deployments", want)
	}
}

func TestBegan(t *testing.T) {
	started := time.Unix(1_000, 0)
	leads, stands := started.Add(time.Minute), started.Add(time.Hour)
	s := zeekapi.Status{Controller: zeekapi.Process{Started: started}}
	if got := began(s); !got.Equal(started) {
		t.Errorf("the only controller began at %v", got)
	}
	s.Controllers = []zeekapi.ControllerMember{{Leads: true, Since: leads}, {Since: stands}}
	if got := began(s); !got.Equal(leads) {
		t.Errorf("a leader began at %v", got)
	}
}
