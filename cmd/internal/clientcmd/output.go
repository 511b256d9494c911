package clientcmd

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

// output holds the outputs of a command and their properties.
type output struct {
	tables bool            // write tables and text instead of JSON
	screen terminal.Screen // properties of standard output
	page   io.Writer       // standard output, for lines formatted by screen

	// progress is standard error if it can show progress, or nil. Its properties
	// are progressScreen.
	progress       io.Writer
	progressScreen terminal.Screen

	asks bool // standard input and standard error are a terminal
}

// addOutputFlags adds the flags that select the form of the output.
func (t *Tool) addOutputFlags(fs *pflag.FlagSet) {
	if !t.Extended {
		return
	}
	fs.BoolVar(&t.flags.json, "json", false, "JSON output, also to a terminal; --json=false selects tables, also to a pipe or file")
	fs.StringVar(&t.flags.color, "color", string(terminal.ColorAuto), "`WHEN` to use colours: auto, always or never")
}

// openOutputs sets the outputs of the command according to the flags and to the
// properties of standard output and standard error.
func (r *run) openOutputs(cmd *cobra.Command) error {
	t := r.tool
	r.stdout, r.page, r.messages = cmd.OutOrStdout(), cmd.OutOrStdout(), messages{w: cmd.ErrOrStderr()}
	colors := terminal.ColorNever
	var err error
	if t.Extended {
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
	r.warn = t.Extended
	if errors.Terminal {
		r.asks = terminal.Interactive(r.stdin)
		r.messages.w = terminal.SafeWriter(r.messages.w)
	}
	r.tables = t.Extended && r.screen.Terminal
	if f := cmd.Flags().Lookup("json"); f != nil && f.Changed {
		r.tables = !t.flags.json
	}
	if r.tables && errors.Moves && !t.flags.quiet {
		r.progress, r.progressScreen = cmd.ErrOrStderr(), errors
	}
	if err != nil {
		return r.misuse("--color: %v", err)
	}
	return nil
}

// present prints a result: the lines of view if the command writes tables, and v as
// JSON otherwise.
func (r *run) present(v any, view func() []terminal.Line) error {
	if !r.tables {
		return r.print(v)
	}
	return r.screen.Write(r.page, view()...)
}

// misuse prints a usage error and returns the error of the command.
func (r *run) misuse(format string, args ...any) error {
	r.fail(format, args...)
	return &ExitError{Code: Misuse}
}
