package clientcmd_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// TestCommandsByName makes each command alone.
func TestCommandsByName(t *testing.T) {
	for _, extended := range []bool{false, true} {
		for _, want := range (&clientcmd.Tool{Extended: extended}).Commands() {
			got := (&clientcmd.Tool{Extended: extended}).Command(want.Name())
			switch {
			case got == nil:
				t.Errorf("there is no command %s", want.Name())
			case got.Use != want.Use || got.Flags().FlagUsages() != want.Flags().FlagUsages():
				t.Errorf("%s alone is %q, with the flags\n%s", want.Name(), got.Use, got.Flags().FlagUsages())
			}
		}
	}
	for _, name := range []string{"status", "nonesuch", ""} {
		if got := new(clientcmd.Tool).Command(name); got != nil {
			t.Errorf("zeek-client has a command %q: %s", name, got.Use)
		}
	}
}
