// Command zeek-client provides the client commands of zeekwire with the name and the
// options of Zeek's zeek-client, for scripts that call it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/interrupt"
	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func main() {
	ctx, stop := interrupt.Context()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// version is the version of Zeek's zeek-client with the same behaviour.
const version = "1.5.0"

// run executes the program and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := newCommand()
	cmd.SetArgs(expandAbbreviations(cmd, args))
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	usage.CheckHelp(cmd)
	completion.Prepare(cmd, args)
	err := cmd.ExecuteContext(ctx)
	if exit := (*clientcmd.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(stderr, "error: %v\n", err)
	}
	return clientcmd.ExitCode(err)
}

// completionPatience is Tool.CompletionPatience. Tests set a longer time for busy
// machines.
var completionPatience time.Duration

func newCommand() *cobra.Command {
	tool := &clientcmd.Tool{ConfigFile: clientcmd.InstalledConfigFile(), CompletionPatience: completionPatience}
	cmd := &cobra.Command{
		Use:           "zeek-client",
		Short:         "A Zeek management client",
		Long:          "A Zeek management client\n\n" + clientcmd.ExitCodes + "\n\n" + clientcmd.Environment,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if quiet, _ := cmd.Flags().GetBool("quiet"); !quiet {
				fmt.Fprintln(cmd.ErrOrStderr(), "error: please provide a command to execute.")
			}
			return &clientcmd.ExitError{Code: 1}
		},
	}
	cmd.SetVersionTemplate("{{.Version}}\n")
	cmd.SetFlagErrorFunc(usage.FlagError)
	cmd.SetUsageFunc(usage.Show)
	cmd.CompletionOptions.HiddenDefaultCmd = true
	tool.AddFlags(cmd.PersistentFlags())
	tool.CompleteFlags(cmd)
	cmd.AddCommand(tool.Commands()...)
	cmd.AddCommand(manpage.Command(manpage.About{
		Version:  "zeek-client " + version,
		Sections: func(*cobra.Command) []manpage.Section { return tool.Manual() },
	}))
	return cmd
}
