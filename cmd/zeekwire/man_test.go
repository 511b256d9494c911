package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// TestExamples checks that every command has examples in its help, and that the
// command lines in them can be parsed.
func TestExamples(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		if cmd.GroupID == "" {
			continue
		}
		if cmd.Example == "" {
			t.Errorf("%s has no examples", cmd.Name())
		}
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", "")) {
			line, _, _ = strings.Cut(line, "  #")
			line, _, _ = strings.Cut(line, " ||")
			var words []string
			for _, word := range strings.Fields(line) {
				if word == "<" || word == ">" || word == ">>" {
					break
				}
				words = append(words, word)
			}
			root := newCommand()
			found, args, err := root.Find(words[1:])
			if err != nil || found.Name() != cmd.Name() || words[0] != "zeekwire" {
				t.Errorf("%q is not an example of %s: %v", line, cmd.Name(), err)
				continue
			}
			if err := found.ParseFlags(args); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
}

// TestManual checks that the manual pages describe every command and every
// flag.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	if _, stderr, code := call(t.Context(), "man", "--dir", dir); code != 0 {
		t.Fatal(stderr)
	}
	root := newCommand()
	index, err := os.ReadFile(filepath.Join(dir, "zeekwire.1"))
	if err != nil {
		t.Fatal(err)
	}
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		text, err := os.ReadFile(filepath.Join(dir, manpage.Name(cmd)+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		if cmd != root && !strings.Contains(string(index), "\\fB"+cmd.Name()+"\\fP\n") {
			t.Errorf("zeekwire.1 does not list %s", cmd.Name())
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(string(text), `--`+f.Name+`\fP`) {
				t.Errorf("%s.1 does not have --%s", manpage.Name(cmd), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			if !sub.Hidden {
				check(sub)
			}
		}
	}
	check(root)
}
