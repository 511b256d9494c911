package bridge

import (
	"errors"
	"testing"
)

// The reason for a lost connection that is found while the next one begins is not reported after
// that, because it would remain the last report.
func TestLateReason(t *testing.T) {
	var last bool
	b, err := New(Config{
		URLs: []string{"nats://127.0.0.1:1"}, Gateway: "g",
		Connected: func(connected bool, _ error) { last = connected },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.connection(false, errors.New("refused"))
	b.lost(errors.New("refused"))
	if last {
		t.Error("the loss of the connection was not reported")
	}
	b.connection(true, nil)
	b.lost(errors.New("refused")) // as by watch, which saw no connection before
	if !last {
		t.Error("the loss was reported after the connection had begun")
	}
}
