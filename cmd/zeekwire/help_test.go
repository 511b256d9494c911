package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// TestHelpFits checks that the help of every command is no wider than what it is
// read on, and free of what pflag says for want of better: types and quotes.
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
			for _, nobodys := range []string{` string `, ` duration `, ` int `, ` uint `, `(default "`} {
				if strings.HasPrefix(strings.TrimSpace(line), "-") && strings.Contains(line, nobodys) {
					t.Errorf("%s --help has a flag without a name for its value: %s", name, line)
				}
			}
		}
	}
}
