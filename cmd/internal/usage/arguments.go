// Package usage checks the arguments of commands and formats their help. All errors
// that it returns are usage errors.
package usage

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	cmd.MarkFlagsMutuallyExclusive(names...) // for completion, which does not propose the others
}

// FlagError replaces the error for an invalid value of a flag. The text of cobra
// describes the parser that failed, not the accepted values.
func FlagError(_ *cobra.Command, err error) error {
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
