package settings_test

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/internal/settings"
)

func TestDefault(t *testing.T) {
	for _, test := range []struct {
		value, want int
		err         string
	}{
		{value: 0, want: 8},
		{value: 3, want: 3},
		{value: -1, want: -1, err: "p: Queue is -1, must not be negative"},
	} {
		got := test.value
		err := settings.Default("p: Queue", &got, 8)
		if text := errorText(err); got != test.want || text != test.err {
			t.Errorf("Default of %d: value %d, error %q; want %d, %q", test.value, got, text, test.want, test.err)
		}
	}
	timeout := -time.Second
	if got, want := errorText(settings.Default("p: Timeout", &timeout, 1)), "p: Timeout is -1s, must not be negative"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
