package usage_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// TestUsageErrors checks the errors for invalid arguments and flags.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		use, args string
		want      string // "" for none
	}{
		{"x", "", ""},
		{"x", "a", `unexpected argument "a"; usage: program x`},
		{"x A", "", "missing A; usage: program x A"},
		{"x A", "a b", `unexpected argument "b"; usage: program x A`},
		{"x [A]", "", ""},
		{"x [A]", "a b", `unexpected argument "b"; usage: program x [A]`},
		{"x A...", "", "missing A; usage: program x A..."},
		{"x A...", "a b c", ""},
		{"x A [B...]", "a", ""},
		{"x A [B:C...]", "a b c d", ""},
		{"x A --number N", "a", ""},
		{"x A --number N", "a b", `unexpected argument "b"; usage: program x A --number N`},
		{"x --number N", "--number b", `--number "b": want a number`},
		{"x", "--on=b", `--on "b": want true or false`},
		{"x", "--time b", `--time "b": want a time such as 30s or 5m`},
		{"x", "--on --off", "--on and --off cannot be used together"},
		{"x", "--on", ""},
		{"y --need THIS", "--on", "missing --need; usage: program y --need THIS"},
		{"y --need THIS", "--need that", ""},
	} {
		cmd := &cobra.Command{Use: tt.use, Args: usage.Arguments(tt.use), RunE: func(*cobra.Command, []string) error { return nil }}
		cmd.Flags().Int("number", 0, "")
		cmd.Flags().Bool("on", false, "")
		cmd.Flags().Bool("off", false, "")
		cmd.Flags().Duration("time", time.Second, "")
		cmd.Flags().String("need", "", "")
		usage.Exclude(cmd, "on", "off")
		if cmd.Name() == "y" {
			usage.Require(cmd, "need")
		}
		program := &cobra.Command{Use: "program", SilenceErrors: true, SilenceUsage: true}
		program.SetFlagErrorFunc(usage.FlagError)
		program.AddCommand(cmd)
		program.SetArgs(append([]string{cmd.Name()}, strings.Fields(tt.args)...))
		program.SetOut(io.Discard)
		got := ""
		if err := program.Execute(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%q called with %q: got %q, want %q", tt.use, tt.args, got, tt.want)
		}
	}
}
