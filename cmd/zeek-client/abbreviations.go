package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// stockOptions lists the options of Zeek's zeek-client by command. Those without a
// command belong to all commands. Python's argparse accepts abbreviations of them,
// which scripts may use.
var stockOptions = map[string][]string{
	"":             {"configfile", "controller", "set", "quiet", "verbose", "version", "help"},
	"get-config":   {"filename", "as-json", "deployed", "staged"},
	"test-timeout": {"with-state"},
}

// expandAbbreviations replaces unambiguous abbreviations of stockOptions by the full
// options, as Python's argparse does. If a shell requests completion, the last
// argument is incomplete and remains unchanged.
func expandAbbreviations(root *cobra.Command, args []string) []string {
	args = slices.Clone(args)
	end := len(args)
	if end > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		end--
	}
	command := root
	for i := 0; i < end && args[i] != "--"; i++ {
		option, isLong := strings.CutPrefix(args[i], "--")
		switch {
		case isLong:
			name, value, hasValue := strings.Cut(option, "=")
			if command.Flags().Lookup(name) == nil && root.PersistentFlags().Lookup(name) == nil {
				name = fullName(name, command)
				args[i] = "--" + name
				if hasValue {
					args[i] += "=" + value
				}
			}
			if !hasValue && takesValue(command, root, func(f *pflag.Flag) bool { return f.Name == name }) {
				i++
			}
		case len(args[i]) > 1 && args[i][0] == '-':
			last := args[i][len(args[i])-1:]
			if len(args[i]) == 2 && takesValue(command, root, func(f *pflag.Flag) bool { return f.Shorthand == last }) {
				i++
			}
		case command == root:
			if found, _, err := root.Find(args[i : i+1]); err == nil {
				command = found
			}
		}
	}
	return args
}

// fullName returns the only option that begins with name. If there is none or more
// than one, it returns name.
func fullName(name string, command *cobra.Command) string {
	var found []string
	for _, option := range slices.Concat(stockOptions[""], stockOptions[command.Name()]) {
		if strings.HasPrefix(option, name) {
			found = append(found, option)
		}
	}
	if name == "" || len(found) != 1 {
		return name
	}
	return found[0]
}

// takesValue reports whether the flag that match selects is followed by a value.
func takesValue(command, root *cobra.Command, match func(*pflag.Flag) bool) bool {
	takes := false
	visit := func(f *pflag.Flag) { takes = takes || match(f) && f.NoOptDefVal == "" }
	command.Flags().VisitAll(visit)
	root.PersistentFlags().VisitAll(visit)
	return takes
}
