// Command zeekwire is a cluster controller, an agent and a client for Zeek, with
// tools that inspect the traffic between them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/interrupt"
	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/cmd/internal/version"
)

func main() {
	ctx, stop := interrupt.Context()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes of all commands, the same as zeek-client's.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := newCommand(args...)
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	usage.CheckHelp(cmd)
	completion.Prepare(cmd, args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *clientcmd.ExitError
	if errors.As(err, &exit) {
		// The command has reported its error.
		return exit.Code
	}
	err = usage.CommandError(cmd, err)
	for _, err := range oneByOne(err) {
		fmt.Fprintf(terminal.SafeWriter(stderr), "error: %v\n", err) // it may contain text of a peer
	}
	if failure := (*failure)(nil); errors.As(err, &failure) {
		return exitError
	}
	return exitUsage
}

// oneByOne returns the errors that err joins. Each is printed on a line of its
// own.
func oneByOne(err error) []error {
	if list := (settings.Errors)(nil); errors.As(err, &list) {
		return list
	}
	return []error{err}
}

// failure marks the error of a command that ran. All other errors are usage
// errors.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

// misuse marks a usage error that a command finds while it runs.
type misuse struct{ error }

func (m *misuse) Unwrap() error { return m.error }

// usageError marks err as a usage error. It returns nil for nil.
func usageError(err error) error {
	if err == nil {
		return nil
	}
	return &misuse{err}
}

// IDs of the groups of commands in the help.
const (
	groupServices = "services"
	groupSetup    = "setup"
	groupClient   = "client"
	groupTraffic  = "traffic"
	groupImport   = "import"
)

// zeekControlNames maps commands to those of ZeekControl that they replace under another
// name.
var zeekControlNames = map[string][]string{
	"deploy-config": {"install"},
	"get-config":    {"config"},
	"get-id-value":  {"print"},
	"get-nodes":     {"nodes"},
	"netstats":      {"capstats"},
	"peers":         {"peerstatus"},
}

// groups are the groups of commands, in the order of the help.
var groups = []cobra.Group{
	{ID: groupServices, Title: "Services:"},
	{ID: groupSetup, Title: "Set-up of a secure cluster:"},
	{ID: groupClient, Title: "Client commands:"},
	{ID: groupTraffic, Title: "Traffic tools:"},
	{ID: groupImport, Title: "Other programs' configurations:"},
}

// completionPatience limits the time of a completion. Zero means the default of
// clientcmd. Tests set it, because they may run on a busy machine.
var completionPatience time.Duration

// newCommand returns the root command for the arguments. If the first one names a client
// command, it has only that, because scripts start client commands often.
func newCommand(args ...string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "zeekwire",
		Short: "Controller, agent and client for Zeek clusters",
		Long: `zeekwire manages Zeek clusters. A controller accepts the configuration of a
cluster from a client and tells the agents on the cluster's machines which Zeek
processes to run. All parts work with Zeek's controller, agent and zeek-client.

To begin, run "zeekwire demo".

Flags that all client commands share, such as --controller and -v, are also
accepted before the command.

` + clientcmd.ExitCodes + clientcmd.ExtendedExitCodes,
		Version:       version.String(),
		SilenceErrors: true, SilenceUsage: true,
		DisableSuggestions: true, // CommandError has its own
	}
	tool := &clientcmd.Tool{Extended: true, ConfigFile: clientConfigFile(), CompletionPatience: completionPatience}
	// Like zeek-client, zeekwire accepts the shared flags before the command.
	// Other commands do not inherit them, and they are shown in the help of the
	// client commands.
	tool.AddFlags(cmd.Flags())
	tool.CompleteFlags(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	cmd.SetFlagErrorFunc(usage.FlagError)
	for _, g := range groups {
		cmd.AddGroup(&g)
	}
	if len(args) > 0 {
		if client := tool.Command(args[0]); client != nil {
			addCommands(cmd, groupClient, client)
			return cmd
		}
	}
	addAllCommands(cmd, tool)
	return cmd
}

// addAllCommands adds all commands. Those of the client are the tool's.
func addAllCommands(root *cobra.Command, tool *clientcmd.Tool) {
	addCommands(root, groupClient, tool.Commands()...)
	addCommands(root, groupServices, newControllerCommand(), newAgentCommand(), newGatewayCommand(), newDemoCommand(), newStoreCommand())
	addCommands(root, groupSetup, newBootstrapCommand(), newInviteCommand(), newJoinCommand(), newRevokeCommand(), newCertificatesCommand())
	addCommands(root, groupTraffic, newPublishCommand(), newSubscribeCommand(),
		newDecodeCommand(), newRecordCommand(), newReplayCommand())
	addCommands(root, groupImport, newImportCommand())
	addCommands(root, "", newVersionCommand(), manpage.Command(manpage.About{
		Version: "zeekwire " + version.String(),
		Sections: func(cmd *cobra.Command) []manpage.Section {
			if cmd.GroupID == groupClient {
				return tool.Manual()
			}
			return []manpage.Section{{Title: "Exit status", Text: "  0  success\n  1  failure\n  2  usage error, or an invalid setting of a service"}}
		},
	}))
}

// addCommands adds commands of a group. It wraps their errors, except a *misuse, in a *failure.
func addCommands(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID, c.SuggestFor = group, zeekControlNames[c.Name()]
		c.SetUsageFunc(usage.Show)
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			if err == nil || errors.As(err, new(*misuse)) {
				return err
			}
			return &failure{err}
		}
		root.AddCommand(c)
	}
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version, as --version does", Args: usage.Arguments("version"),
		Long: `Print the version, as --version does.

The JSON has the keys version, revision (of the source, missing if unknown),
modified (true if the source differed from the revision), go (the version of
Go), os and arch.`,
		Example: "  zeekwire version\n  zeekwire version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(version.Details())
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "zeekwire version %s\n", version.String())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print version and origin of the program as JSON")
	return cmd
}
