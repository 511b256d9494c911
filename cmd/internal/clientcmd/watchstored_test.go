package clientcmd

import (
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// A status from a stored state is shown again only if more than its age has changed.
func TestWatchStoredState(t *testing.T) {
	var out strings.Builder
	w := &watcher{run: &run{stdout: &out}}
	now := time.Now()
	for i, name := range []string{"one", "one", "two"} {
		s := zeekapi.Status{Controller: zeekapi.Process{Name: name}, AsOf: now.Add(time.Duration(i-60) * time.Second)}
		if err := w.showStatus(s, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), `"age":`); n != 2 || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%d statuses were shown, want 2:\n%s", n, out.String())
	}
}
