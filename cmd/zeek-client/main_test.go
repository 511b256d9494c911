package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestCommandLine checks the options, abbreviations, outputs and exit codes of the
// program.
func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // expected prefixes
	}{
		{[]string{}, 1, "", "error: please provide a command to execute.\n"},
		{[]string{"-q"}, 1, "", ""},
		{[]string{"--vers"}, 0, version + "\n", ""},
		{[]string{"--ver"}, 2, "", "error: unknown flag: --ver"},
		{[]string{"--contr=h:1", "--se", "client.x=y", "-c", "--verb", "--verb", "show-settings"}, 0, "[client]\n", ""},
		{[]string{"--verb", "--verb", "--verb", "--c", "x", "show-settings"}, 2, "", "error: unknown flag: --c"},
		{[]string{"--s", "controller.port=0", "get-config", "--dep", "--as", "--file=x"}, 1, "", "error: cannot configure connection to 127.0.0.1:0: "},
		{[]string{"--version"}, 0, version + "\n", ""},
		{[]string{"--help"}, 0, "A Zeek management client\n", ""},
		{[]string{"bogus"}, 2, "", `error: unknown command "bogus" for "zeek-client"`},
		{[]string{"--bogus"}, 2, "", "error: unknown flag: --bogus"},
		{[]string{"stage-config"}, 2, "", "error: "},
		{[]string{"--set", "controller.port=99999", "get-nodes"}, 1, "", "error: cannot configure connection to 127.0.0.1:99999: "},
		{[]string{"--controller", "10.0.0.1:2149", "show-settings"}, 0, "[client]\n", ""},
		{[]string{"show-settings", "--controller", "10.0.0.1:2149"}, 0, "[client]\n", ""},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			var stdout, stderr strings.Builder
			code := run(t.Context(), tt.args, strings.NewReader(""), &stdout, &stderr)
			if code != tt.code || !strings.HasPrefix(stdout.String(), tt.stdout) || !strings.HasPrefix(stderr.String(), tt.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
			if tt.stdout == "" && stdout.Len() > 0 || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
			}
		})
	}
}

// TestManualPagesAreComplete checks that the manual pages describe every command and
// every flag.
func TestManualPagesAreComplete(t *testing.T) {
	dir := t.TempDir()
	call(t, "man", "--dir", dir)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return strings.ReplaceAll(string(text), `\-`, "-")
	}
	root := newCommand()
	index := read("zeek-client.1")
	check := func(cmd *cobra.Command, page string) {
		text := read(page)
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(text, `--`+f.Name+`\fP`) {
				t.Errorf("%s lacks --%s", page, f.Name)
			}
		})
	}
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { root.Flags().AddFlag(f) })
	check(root, "zeek-client.1")
	for _, cmd := range root.Commands() {
		if cmd.Hidden {
			continue
		}
		if !strings.Contains(index, "\\fB"+cmd.Name()+"\\fP\n") {
			t.Errorf("zeek-client.1 does not list %s", cmd.Name())
		}
		check(cmd, "zeek-client-"+cmd.Name()+".1")
	}
}

// TestHelpWidth checks that help fits a terminal of 80 columns.
func TestHelpWidth(t *testing.T) {
	for _, cmd := range append(newCommand().Commands(), newCommand()) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		var out strings.Builder
		if code := run(t.Context(), args, strings.NewReader(""), &out, &out); code != 0 {
			t.Errorf("%v: exit code %d", args, code)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > 81 {
				t.Errorf("%v: line of more than 80 columns: %s", args, line)
			}
		}
	}
}
