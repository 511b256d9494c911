// Package usage checks the arguments of commands and formats their help. All errors
// that it returns are usage errors.
package usage

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
)

// Arguments returns a function that checks the number of arguments of a command. The
// usage line declares them, up to its first flag: NAME, NAME..., [OPTIONAL] and
// [ANY...].
func Arguments(use string) cobra.PositionalArgs {
	names := strings.Fields(use)[1:]
	needed, most := 0, 0
	for i, name := range names {
		if strings.HasPrefix(name, "-") {
			names = names[:i]
			break
		}
		most++
		if !strings.HasPrefix(name, "[") {
			needed++
		}
		if strings.HasSuffix(strings.TrimSuffix(name, "]"), "...") {
			most = math.MaxInt
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < needed:
			return missing(cmd, use, strings.TrimSuffix(names[len(args)], "..."))
		case len(args) > most:
			return fmt.Errorf("unexpected argument %q; usage: %s", args[most], full(cmd, use))
		}
		return nil
	}
}

// missing returns the error for a missing argument or flag.
func missing(cmd *cobra.Command, use, name string) error {
	return fmt.Errorf("missing %s; usage: %s", name, full(cmd, use))
}

// full returns a usage line with the name of the program.
func full(cmd *cobra.Command, use string) string {
	return strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + use
}

// Require makes flags of a command mandatory. Its Use and Args must be set.
func Require(cmd *cobra.Command, names ...string) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		for _, name := range names {
			if !cmd.Flags().Changed(name) {
				return missing(cmd, cmd.Use, "--"+name)
			}
		}
		return check(cmd, args)
	}
	for _, name := range names {
		// For completion, which proposes these flags first. MarkFlagRequired
		// fails only for flags that do not exist.
		_ = cmd.MarkFlagRequired(name)
	}
}

// Exclude makes flags of a command mutually exclusive. Its Args must be set.
func Exclude(cmd *cobra.Command, names ...string) {
	CheckExclusive(cmd, names...)
	cmd.MarkFlagsMutuallyExclusive(names...) // for completion, which does not propose the others
}

// CheckExclusive is Exclude for a command that has the same flags as another one, for
// which Exclude was called.
func CheckExclusive(cmd *cobra.Command, names ...string) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var given []string
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				given = append(given, "--"+name)
			}
		}
		if len(given) > 1 {
			return fmt.Errorf("%s cannot be used together", strings.Join(given, " and "))
		}
		return check(cmd, args)
	}
}

// FlagError replaces errors about flags. For an invalid value, the text of cobra
// describes the parser that failed, not the accepted values. For an unknown flag, the
// error suggests a similar one of the command.
func FlagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		return unknownFlag(cmd, unknown)
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) || invalid.GetFlag() == nil {
		return err
	}
	reason := invalid.Unwrap()
	var number *strconv.NumError
	if errors.As(reason, &number) {
		reason = errors.New("want a number")
		if number.Func == "ParseBool" {
			reason = errors.New("want true or false")
		}
	}
	if invalid.GetFlag().Value.Type() == "duration" {
		reason = errors.New("want a time such as 30s or 5m")
	}
	return fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), reason)
}

// unknownFlag returns the error for a flag that a command does not have. With a single
// hyphen, the whole word may have been meant as a flag.
func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) error {
	word := err.GetSpecifiedName()
	if letters := err.GetSpecifiedShortnames(); letters != "" {
		word, _, _ = strings.Cut(letters, "=")
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if name, near := nearest.Name(strings.ReplaceAll(strings.ToLower(word), "_", "-"), names); near && len(word) > 1 {
		return fmt.Errorf("%w, did you mean --%s?", err, name)
	}
	return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
}

// CommandError adds a suggestion to the error of cobra for an unknown command, and
// returns any other error unchanged. It also suggests commands that have the unknown name
// in SuggestFor. It expects that root disables the suggestions of cobra, which take
// several lines.
func CommandError(root *cobra.Command, err error) error {
	rest, ok := strings.CutPrefix(err.Error(), "unknown command ")
	if !ok {
		return err
	}
	quoted, _ := strconv.QuotedPrefix(rest)
	name, _ := strconv.Unquote(quoted)
	var names, begun []string
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			names = append(names, cmd.Name())
			if name != "" && strings.HasPrefix(cmd.Name(), strings.ToLower(name)) || slices.Contains(cmd.SuggestFor, strings.ToLower(name)) {
				begun = append(begun, cmd.Name())
			}
		}
	}
	if similar, near := nearest.Name(strings.ToLower(name), names); near && len(begun) == 0 {
		begun = append(begun, similar)
	}
	if len(begun) > 0 {
		return fmt.Errorf("%w, did you mean %s?", err, strings.Join(begun, ", "))
	}
	return fmt.Errorf("%w; \"%s --help\" lists the commands", err, root.CommandPath())
}
