package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// TestHelpFits checks that the help of every command fits on a terminal of 80
// columns, and that no flag has a default description of pflag: a type, or a
// quoted default.
func TestHelpFits(t *testing.T) {
	var names []string
	for _, cmd := range manpage.Commands(newCommand()) {
		names = append(names, cmd.CommandPath())
	}
	for _, name := range names {
		stdout, stderr, code := call(t.Context(), append(strings.Fields(name)[1:], "--help")...)
		if code != 0 || stderr != "" {
			t.Fatalf("%s --help: exit code %d, %s", name, code, stderr)
		}
		for line := range strings.Lines(stdout) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%s --help has %d columns: %s", name, n, line)
			}
			for _, generic := range []string{` string `, ` duration `, ` int `, ` uint `, `(default "`} {
				if strings.HasPrefix(strings.TrimSpace(line), "-") && strings.Contains(line, generic) {
					t.Errorf("%s --help has a flag without a name for its value: %s", name, line)
				}
			}
		}
	}
}
