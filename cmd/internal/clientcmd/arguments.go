package clientcmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// arguments accepts what the usage of a command names: NAME, [OPTIONAL] and
// [ANY...].
func arguments(use string) cobra.PositionalArgs {
	names := strings.Fields(use)[1:]
	needed, most := 0, len(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "[") {
			needed++
		}
		if strings.HasSuffix(name, "...]") {
			most = maxArgs
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		usage := strings.TrimSuffix(cmd.CommandPath(), cmd.Name()) + use
		switch {
		case len(args) < needed:
			return fmt.Errorf("%s is missing; usage: %s", names[len(args)], usage)
		case len(args) > most:
			return fmt.Errorf("%q is too much; usage: %s", args[most], usage)
		}
		return nil
	}
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
	return fmt.Errorf("--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), reason)
}
