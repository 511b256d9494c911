package clientcmd_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// TestCommandsByName makes each command alone.
func TestCommandsByName(t *testing.T) {
	for _, extended := range []bool{false, true} {
		for _, want := range (&clientcmd.Tool{Extended: extended}).Commands() {
			got := (&clientcmd.Tool{Extended: extended}).Commands(want.Name())
			if len(got) != 1 || got[0].Name() != want.Name() || got[0].Flags().FlagUsages() != want.Flags().FlagUsages() {
				t.Errorf("%s alone: %d commands, or another one", want.Name(), len(got))
			}
		}
	}
	if got := new(clientcmd.Tool).Commands("status", "nonesuch", ""); len(got) != 0 {
		t.Errorf("commands for names that zeek-client does not have: %v", got)
	}
}
