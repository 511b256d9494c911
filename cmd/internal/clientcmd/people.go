package clientcmd

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

// output is how a command writes to people.
type output struct {
	people bool // rather than JSON
	screen terminal.Screen
	page   io.Writer // standard output, written by screen

	// progress is standard error if somebody can watch it there.
	progress io.Writer
	watcher  terminal.Screen
}

func (t *Tool) addPeopleFlags(fs *pflag.FlagSet) {
	if !t.People {
		return
	}
	fs.BoolVar(&t.flags.json, "json", false, "JSON output, also to a terminal; --json=false selects tables, also to a pipe or file")
	fs.StringVar(&t.flags.color, "color", string(terminal.ColorAuto), "`WHEN` to use colours: auto, always or never")
}

// look detects whether the outputs are terminals.
func (r *run) look(cmd *cobra.Command) error {
	t := r.tool
	r.stdout, r.page, r.messages = cmd.OutOrStdout(), cmd.OutOrStdout(), messages{w: cmd.ErrOrStderr()}
	colors := terminal.ColorNever
	var err error
	if t.People {
		colors, err = terminal.ParseColors(t.flags.color)
	}
	look := t.Look
	if look == nil {
		look = func(w io.Writer) terminal.Screen { return terminal.Look(w, t.Getenv, colors) }
	}
	if r.screen = look(r.page); r.screen.Terminal {
		r.stdout = terminal.SafeWriter(r.page)
	}
	errors := look(r.messages.w)
	if errors.Terminal {
		r.warn = t.People
		r.messages.w = terminal.SafeWriter(r.messages.w)
	}
	r.people = t.People && r.screen.Terminal
	if f := cmd.Flags().Lookup("json"); f != nil && f.Changed {
		r.people = !t.flags.json
	}
	if r.people && errors.Moves && !t.flags.quiet {
		r.progress, r.watcher = cmd.ErrOrStderr(), errors
	}
	if err != nil {
		return r.misuse("--color: %v", err)
	}
	return nil
}

// present shows an answer: for people as view makes it, otherwise as JSON.
func (r *run) present(v any, view func() []terminal.Line) error {
	if !r.people {
		return r.print(v)
	}
	return r.screen.Write(r.page, view()...)
}

// misuse says what is wrong with how the command was called, and returns the
// error to end with.
func (r *run) misuse(format string, args ...any) error {
	r.fail(format, args...)
	return &ExitError{Code: Misuse}
}
