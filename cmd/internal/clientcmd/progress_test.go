package clientcmd_test

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Minute: "1h01m", 49 * time.Hour: "2d1h",
	} {
		if got := clientcmd.Age(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
