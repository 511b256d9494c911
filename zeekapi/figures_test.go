package zeekapi_test

import (
	"math"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestTrafficRates(t *testing.T) {
	before := zeekapi.Traffic{Measured: time.Unix(100, 0), Received: 100, Dropped: 10, Link: 110, Bytes: 1000}
	now := zeekapi.Traffic{Measured: time.Unix(102, 0), Received: 300, Dropped: 110, Link: 410, Bytes: 3000}
	now.SetRates(&before)
	if want := (zeekapi.TrafficRates{Period: 2 * time.Second, Received: 100, Dropped: 50, Link: 150, Bytes: 1000}); *now.Rates != want {
		t.Errorf("rates are %+v, want %+v", *now.Rates, want)
	}
	if got := now.Rates.DropShare(); math.Abs(got-1.0/3) > 1e-9 {
		t.Errorf("share of drops is %f", got)
	}
	for name, earlier := range map[string]*zeekapi.Traffic{
		"nothing before":   nil,
		"the same time":    {Measured: now.Measured},
		"counters reset":   {Measured: before.Measured, Received: 301},
		"drops were reset": {Measured: before.Measured, Dropped: 111},
	} {
		if now.SetRates(earlier); now.Rates != nil {
			t.Errorf("%s: rates are %+v", name, now.Rates)
		}
	}
	(*zeekapi.Traffic)(nil).SetRates(&before)
	if got := (zeekapi.Traffic{Dropped: 1}).DropShare(); got != 1 {
		t.Errorf("share of drops without packets is %f", got)
	}
	if got := (zeekapi.TrafficRates{Dropped: -1}).DropShare(); got != 0 {
		t.Errorf("share of negative drops is %f", got)
	}
}

func TestConnects(t *testing.T) {
	for _, tt := range []struct {
		backend string
		a, b    zeekapi.ClusterRole
		want    bool
	}{
		{"broker", zeekapi.RoleWorker, zeekapi.RoleManager, true},
		{"broker", zeekapi.RoleProxy, zeekapi.RoleLogger, true},
		{"broker", zeekapi.RoleWorker, zeekapi.RoleWorker, false},
		{"zeromq", zeekapi.RoleWorker, zeekapi.RoleWorker, true},
		{"zeromq", zeekapi.RoleWorker, zeekapi.RoleNone, false},
	} {
		if got := zeekapi.Connects(tt.backend, tt.a, tt.b); got != tt.want {
			t.Errorf("%s: %s and %s: %t", tt.backend, tt.a, tt.b, got)
		}
	}
}
