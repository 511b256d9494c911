// Package usage has all commands say in the same words how they are called, and
// what is wrong with how they were. A program's main function gives errors the
// exit code; those of this package all mean that a command was called wrongly.
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

// Arguments accepts what the usage of a command names, up to its first option:
// NAME, NAME..., [OPTIONAL] and [ANY...].
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
			return fmt.Errorf("%q is too much; usage: %s", args[most], full(cmd, use))
		}
		return nil
	}
}

func missing(cmd *cobra.Command, use, what string) error {
	return fmt.Errorf("%s is missing; usage: %s", what, full(cmd, use))
}

// full is a command's usage with the program's name.
func full(cmd *cobra.Command, use string) string {
	return strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + use
}

// Require demands options of a command whose Use and Args are set.
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
		// For the shell, which offers them first. It only fails for options that
		// are not there.
		_ = cmd.MarkFlagRequired(name)
	}
}

// Exclude lets a command whose Args are set have only one of some options.
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
			return fmt.Errorf("%s exclude each other", strings.Join(given, " and "))
		}
		return check(cmd, args)
	}
	cmd.MarkFlagsMutuallyExclusive(names...) // for the shell, which offers the others no more
}

// FlagError puts what is wrong with an option in other words than cobra, which
// says how it failed to read a number.
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
