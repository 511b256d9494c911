package clientcmd

import (
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestDeploymentDuration(t *testing.T) {
	began := time.Unix(1_790_000_000, 0)
	for want, ended := range map[string]time.Time{
		"1.5s": began.Add(1500 * time.Millisecond),
		"0.0s": began,
		"":     began.Add(-5 * time.Hour),
	} {
		if got := deploymentDuration(zeekapi.Deployment{Started: began, Ended: ended}); got != want {
			t.Errorf("duration from %v to %v is %q, want %q", began, ended, got, want)
		}
	}
	if got := deploymentDuration(zeekapi.Deployment{Started: began}); got != "" {
		t.Errorf("duration of a pending deployment is %q, want none", got)
	}
}
