package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// whole returns all commands, with those that cobra adds.
func whole() *cobra.Command {
	root := newCommand()
	usage.CheckHelp(root)
	completion.Prepare(root, nil)
	return root
}

// all returns cmd and the commands below it, also those that help does not show.
func all(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		list = append(list, all(sub)...)
	}
	return list
}

// TestExamples checks that every command has examples in its help, and that the
// command lines in them can be parsed.
func TestExamples(t *testing.T) {
	for _, cmd := range all(whole())[1:] {
		if cmd.Example == "" {
			t.Errorf("%s has no examples", cmd.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "\\\n", "")) {
			checkExample(t, cmd, line)
		}
	}
}

// checkExample parses a command line, which must be one of cmd or of a command below.
func checkExample(t *testing.T, cmd *cobra.Command, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, "  #")
	line, _, _ = strings.Cut(line, " ||")
	line = strings.TrimPrefix(strings.TrimSpace(line), "ssh root@sensor-1 ")
	if inner, ok := strings.CutPrefix(line, "source <("); ok {
		line = strings.TrimSuffix(inner, ")")
	}
	var words []string
	for _, word := range strings.Fields(line) {
		if word == "<" || word == ">" || word == ">>" {
			break
		}
		words = append(words, word)
	}
	found, args, err := whole().Find(words[1:])
	if err != nil || !strings.HasPrefix(found.CommandPath(), cmd.CommandPath()) || words[0] != "zeekwire" {
		t.Errorf("%q is not an example of %s: %v", line, cmd.CommandPath(), err)
		return
	}
	if err := found.ParseFlags(args); err != nil {
		t.Errorf("%q: %v", line, err)
	}
	if err := found.ValidateArgs(found.Flags().Args()); err != nil {
		t.Errorf("%q: %v", line, err)
	}
}

// plain returns the text of a page with plain hyphens.
func plain(page []byte) string { return strings.ReplaceAll(string(page), `\-`, "-") }

// TestManual checks that the manual pages describe every command and every
// flag.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	if _, stderr, code := call(t.Context(), "man", "--dir", dir); code != 0 {
		t.Fatal(stderr)
	}
	root := newCommand()
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		text, err := os.ReadFile(filepath.Join(dir, manpage.Name(cmd)+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		if cmd != root {
			above := manpage.Name(cmd.Parent()) + ".1"
			index, err := os.ReadFile(filepath.Join(dir, above))
			if err != nil || !strings.Contains(plain(index), "\\fB"+cmd.Name()+"\\fP\n") {
				t.Errorf("%s does not list %s: %v", above, cmd.Name(), err)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(plain(text), `--`+f.Name+`\fP`) {
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
