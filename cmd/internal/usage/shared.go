package usage

import (
	"github.com/spf13/pflag"
)

// Share marks all flags of a set as shared by several commands. Help lists them after
// the own flags of a command.
func Share(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		// SetAnnotation fails only for flags that do not exist.
		_ = flags.SetAnnotation(f.Name, sharedAnnotation, []string{"true"})
	})
}

const sharedAnnotation = "zeekwire_shared"

// split returns the own flags of a command and the flags that Share has marked.
func split(flags *pflag.FlagSet) (own, shared *pflag.FlagSet) {
	own, shared = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[sharedAnnotation] != nil {
			shared.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	return own, shared
}
