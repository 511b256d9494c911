// Package clientcmd implements the commands that talk to a controller, with the
// arguments, outputs and exit codes of Zeek's zeek-client.
//
// Data goes to standard output and everything else to standard error. The exit
// code of a command is 0 on success, 1 on failure, 2 for a usage error, and 130
// after an interrupt.
package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// Tool creates the client commands. They use the input and outputs of their
// cobra command and never end the process. A Tool runs one command.
type Tool struct {
	Dial     Dial                   // if nil, connect.Dial
	Getenv   func(string) string    // if nil, os.Getenv
	Hostname func() (string, error) // if nil, os.Hostname

	// Resolve returns the addresses of a host. If nil, the system's resolver is
	// used.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// ConfigFile is the settings file if neither a flag nor the environment
	// names one. It need not exist.
	ConfigFile string

	// Extended adds commands and flags that zeek-client does not have, and tables
	// on terminals. If false, the commands behave as in zeek-client.
	Extended bool

	// CompletionPatience limits the time that shell completion waits for the
	// controller; it offers nothing after that. Zero means one second.
	CompletionPatience time.Duration

	// Look returns the properties of an output. If nil, terminal.Look is used.
	Look func(io.Writer) terminal.Screen

	flags struct {
		configFile    string
		controller    string
		set           []string
		quiet         bool
		verbose       int
		transport     string
		dialect       string
		strictExit    bool
		insecureToken bool
		site          string // only with Extended, also the next two
		siteSize      int    // in MiB
		siteFiles     int
		json          bool   // only with Extended, or for check-config
		color         string // only with Extended
		selection     selectionFlags
	}

	// Flags of several commands.
	shared, selection *pflag.FlagSet
}

// ExitError is the error of a command that has already reported its failure.
type ExitError struct {
	Code int

	cause error // of a failed connection, otherwise nil
}

// Error implements the error interface.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Unwrap returns the error of a failed connection, nil for other failures.
func (e *ExitError) Unwrap() error { return e.cause }

// Interrupted is the exit code of a command whose context was canceled: the one
// that shells use for Ctrl-C. zeek-client exits with 0 in that case.
const Interrupted = 130

// ExitCode returns the exit code for the error of a command. An error that is not
// an ExitError is a usage error.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	return 2
}

// InstalledConfigFile returns the settings file of the installation of this
// program: PREFIX/etc/zeek-client.cfg for PREFIX/bin/zeek-client, as in Zeek.
func InstalledConfigFile() string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(program), "..", "etc", "zeek-client.cfg")
}

// AddFlags adds the shared flags to fs. The commands have them already; programs
// call it to accept the flags before the command as well.
func (t *Tool) AddFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&t.flags.configFile, "configfile", "c", "", "INI `FILE` with settings (default $ZEEK_CLIENT_CONFIG_FILE, else ../etc/zeek-client.cfg relative to this program)")
	controller, transports := "`HOST:PORT` of the controller; either part may be omitted (default 127.0.0.1:2149)", ""
	if t.Extended {
		controller = "`HOST:PORT` of the controller, or the URL of its HTTP API, such as https://HOST:PORT; either part may be omitted; with several, separated by commas, commands use the leader (default 127.0.0.1:2149)"
		transports = "http for the controller's HTTP API, "
	}
	fs.StringVar(&t.flags.controller, "controller", "", controller)
	fs.StringArrayVar(&t.flags.set, "set", nil, "setting to override, `SECTION.KEY=VALUE`; may be repeated, see show-settings")
	fs.StringVar(&t.flags.transport, "transport", "", "`TRANSPORT` to the controller: auto (default), websocket, "+transports+"or native for Zeek 5.0 and 5.1")
	fs.StringVar(&t.flags.dialect, "dialect", "", "`DIALECT` of the controller: auto (default), management, or cluster for ClusterController::API")
	fs.BoolVar(&t.flags.insecureToken, "insecure-token", false, "send the token of "+tokenVariable+" also to a TLS server whose certificate cannot be verified")
	fs.BoolVarP(&t.flags.quiet, "quiet", "q", false, "suppress all output to standard error")
	fs.CountVarP(&t.flags.verbose, "verbose", "v", "more output to standard error; repeat to increase it``") // without a value
	fs.BoolVar(&t.flags.strictExit, "strict-exit", false, "stricter exit codes than zeek-client's: 1 also if a node fails to restart or part of a response is invalid")
	t.addOutputFlags(fs)
	usage.Share(fs)
}

// run is one command while it runs.
type run struct {
	tool *Tool
	*settings
	parameters
	chosen  *atomic.Pointer[remote] // that the command connects to; holds nil for that of the settings
	stored  *stored                 // answers from a stored state
	dialect string                  // of the connected controller
	link    string                  // name of the transport in messages
	site    *fileSite               // of the cluster file; nil without one
	places  *configcheck.Locator    // in the cluster file; nil without one
	invalid error                   // in the settings; only show-settings ignores it
	messages

	stdin  io.Reader
	stdout io.Writer // without control characters on a terminal
	output           // of tables and progress
}

// command returns a command that calls do and accepts the arguments listed in
// use.
func (t *Tool) command(use, short string, do func(ctx context.Context, r *run, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			// From here on, errors are not usage errors, and r.fail reports them.
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			r, err := t.prepare(cmd)
			if err == nil {
				err = do(cmd.Context(), r, args)
			}
			switch {
			case err != nil && cmd.Context().Err() != nil:
				return &ExitError{Code: Interrupted}
			case err != nil && !errors.As(err, new(*ExitError)):
				return r.fail("%v", err)
			}
			return err
		},
	}
	t.addSharedFlags(cmd)
	t.document(cmd)
	return cmd
}

// addSharedFlags adds the shared flags to a command. Only one command of a Tool runs, so
// all commands have the same flags, which shortens the start.
func (t *Tool) addSharedFlags(cmd *cobra.Command) {
	exclude := usage.CheckExclusive
	if t.shared == nil {
		t.shared = pflag.NewFlagSet("", pflag.ContinueOnError)
		t.AddFlags(t.shared)
		exclude = usage.Exclude
	}
	cmd.Flags().AddFlagSet(t.shared)
	exclude(cmd, "quiet", "verbose")
}

// prepare gathers the settings. The returned run can report errors even if
// prepare fails.
func (t *Tool) prepare(cmd *cobra.Command) (*run, error) {
	if t.Dial == nil {
		t.Dial = connect.Dial
	}
	if t.Getenv == nil {
		t.Getenv = os.Getenv
	}
	if t.Resolve == nil {
		t.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if t.Hostname == nil {
		t.Hostname = os.Hostname
	}
	if cmd.Context() == nil {
		cmd.SetContext(context.Background())
	}
	r := &run{tool: t, stdin: cmd.InOrStdin(), chosen: new(atomic.Pointer[remote]), stored: new(stored)}
	if err := r.openOutputs(cmd); err != nil {
		return r, err
	}
	if t.flags.quiet {
		r.show = showNothing
	}
	if err := t.checkOptions(); err != nil {
		return r, r.misuse("%v", err)
	}
	var err error
	if r.settings, err = t.gather(r.messages); err != nil {
		return r, err
	}
	r.parameters, r.invalid = r.settings.parameters()
	if len(r.remotes) == 0 {
		r.usualPort = r.settings.find("controller", "port").origin == ""
	}
	r.rich = r.richLog
	if !t.flags.quiet {
		r.show = verbosity(r.verbosity)
	}
	return r, nil
}

// checkOptions checks the shared flags that do not accept arbitrary text.
func (t *Tool) checkOptions() error {
	// In zeek-client, an invalid address is a failure, not a usage error.
	if t.Extended && t.flags.controller != "" {
		_, remote := urlSettings(t.flags.controller)
		_, _, err := splitRemote(remote)
		if strings.Contains(t.flags.controller, ",") {
			_, err = parseRemotes(t.flags.controller)
		}
		if err != nil {
			return fmt.Errorf("--controller %q: %w", t.flags.controller, err)
		}
	}
	if t.Extended {
		if err := t.checkSet(); err != nil {
			return err
		}
	}
	if t.flags.transport != "" {
		if _, err := connect.ParseTransport(t.flags.transport); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	if t.flags.dialect != "" {
		if _, err := dialects(t.flags.dialect); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	return nil
}

// fail prints an error, one message for each line, and returns the error of the
// command.
func (r *run) fail(format string, args ...any) error {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		r.error("%s", strings.TrimSuffix(line, "\n"))
	}
	return &ExitError{Code: 1}
}

// failIf returns the error of a failed command if failed is true, and nil
// otherwise.
func failIf(failed bool) error {
	if failed {
		return &ExitError{Code: 1}
	}
	return nil
}

// print writes JSON to standard output.
func (r *run) print(v any) error {
	text, err := formatJSON(v, r.prettyJSON)
	if err != nil {
		return err
	}
	_, err = r.stdout.Write(append(text, '\n'))
	return err
}
