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
		{"x", "--numbr 1", "unknown flag: --numbr, did you mean --number?"},
		{"x", "-number 1", "unknown shorthand flag: 'n' in -number, did you mean --number?"},
		{"x", "-number=1", "unknown shorthand flag: 'n' in -number=1, did you mean --number?"},
		{"x", "--num 1", "unknown flag: --num, did you mean --number?"},
		{"x", "--bogus", "unknown flag: --bogus; see program x --help"},
		{"x", "-n 1", "unknown shorthand flag: 'n' in -n; see program x --help"},
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

// TestUnknownCommand checks the suggestions for unknown commands, also those of help.
func TestUnknownCommand(t *testing.T) {
	for args, want := range map[string]string{
		"nonsense":      `unknown command "nonsense" for "program"; "program --help" lists the commands`,
		"help nonsense": `unknown command "nonsense" for "program"; "program --help" lists the commands`,
		"statsu":        `unknown command "statsu" for "program", did you mean status?`,
		"help statsu":   `unknown command "statsu" for "program", did you mean status?`,
		"PRINT":         `unknown command "PRINT" for "program", did you mean get-config?`,
		"get":           `unknown command "get" for "program", did you mean get-config, get-nodes?`,
		"status x":      `unexpected argument "x"; usage: program status`,
	} {
		program := &cobra.Command{Use: "program", SilenceErrors: true, SilenceUsage: true, DisableSuggestions: true}
		for _, name := range []string{"status", "get-nodes", "get-config"} {
			program.AddCommand(&cobra.Command{Use: name, SuggestFor: map[string][]string{"get-config": {"print"}}[name], Args: usage.Arguments(name), RunE: func(*cobra.Command, []string) error { return nil }})
		}
		usage.CheckHelp(program)
		program.SetArgs(strings.Fields(args))
		program.SetOut(io.Discard)
		err := program.Execute()
		if err == nil || usage.CommandError(program, err).Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
