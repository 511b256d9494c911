// Package clientcmd has the commands that talk to a controller, with the
// arguments, outputs and exit codes of Zeek's own zeek-client.
//
// Data goes to standard output and everything else to standard error, so
// outputs can be piped. A command ends with exit code 0, with 1 if anything
// went wrong, with 2 if it was called wrongly, and with 130 if it was
// interrupted.
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
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

// Tool is the client commands with what they need of the world. They read and
// write what cobra's commands are set to, and never end the process. One Tool
// runs one command.
type Tool struct {
	Dial     Dial                   // nil for connect.Dial
	Getenv   func(string) string    // nil for os.Getenv
	Hostname func() (string, error) // nil for os.Hostname

	// Resolve returns the addresses of a host; nil for the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// ConfigFile has the settings if neither the command line nor the
	// environment names a file. It need not exist.
	ConfigFile string

	// People adds what operators miss in zeek-client: commands and options of
	// our own, and tables on a terminal. Without it all is as in zeek-client.
	People bool

	// CompletionPatience is how long somebody who presses the tab key waits for
	// the controller; 0 for a second. Without an answer by then there is nothing
	// to choose from.
	CompletionPatience time.Duration

	// Look finds out about standard output and error; nil for terminal.Look.
	Look func(io.Writer) terminal.Screen

	flags struct {
		configFile string
		controller string
		set        []string
		quiet      bool
		verbose    int
		transport  string
		dialect    string
		strictExit bool
		json       bool   // only with People
		color      string // likewise
	}
}

// ExitError is returned by a command that has already said what is wrong.
type ExitError struct{ Code int }

// Error implements the error interface.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Interrupted is the exit code of a command whose context was cancelled, the
// one that shells have for Ctrl-C. zeek-client ends with 0 there, as if all
// was done.
const Interrupted = 130

// ExitCode returns the code with which a process should end whose command
// returned err. Errors that are not from a running command mean that it was
// called wrongly.
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

// InstalledConfigFile returns the settings file of the installation that this
// program is part of, where Zeek's has its own: PREFIX/etc/zeek-client.cfg for
// PREFIX/bin/zeek-client.
func InstalledConfigFile() string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	return filepath.Join(filepath.Dir(program), "..", "etc", "zeek-client.cfg")
}

// Commands returns the client commands, each with the shared flags.
func (t *Tool) Commands() []*cobra.Command {
	commands := []*cobra.Command{
		t.checkConfig(), t.deploy(), t.deployConfig(), t.getConfig(), t.getIDValue(), t.getInstances(), t.getNodes(),
		t.monitor(), t.restart(), t.showSettings(), t.stageConfig(), t.testTimeout(),
	}
	if t.People {
		commands = append(commands, t.operations()...)
	}
	t.complete(commands)
	return commands
}

// AddFlags adds the shared flags to fs. Commands does that for every command;
// this is for programs that take them before the command as well.
func (t *Tool) AddFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&t.flags.configFile, "configfile", "c", "", "take settings from `FILE`, INI (default: $ZEEK_CLIENT_CONFIG_FILE, or else ../etc/zeek-client.cfg beside this program)")
	fs.StringVar(&t.flags.controller, "controller", "", "the controller's `HOST:PORT`, either of which may be omitted (default 127.0.0.1:2149)")
	fs.StringArrayVar(&t.flags.set, "set", nil, "adjust a setting, `SECTION.KEY=VALUE`; may be repeated, see show-settings")
	fs.StringVar(&t.flags.transport, "transport", "", "reach the controller by `TRANSPORT`: auto (default), websocket, or native for Zeek 5.0 and 5.1")
	fs.StringVar(&t.flags.dialect, "dialect", "", "speak `DIALECT` with the controller: auto (default), management, or cluster for ClusterController::API")
	fs.BoolVarP(&t.flags.quiet, "quiet", "q", false, "say nothing on standard error")
	fs.CountVarP(&t.flags.verbose, "verbose", "v", "say more on standard error; repeat for even more``") // without a value
	fs.BoolVar(&t.flags.strictExit, "strict-exit", false, "exit with 1 also where zeek-client does not: when nodes fail to restart, or when part of an answer makes no sense")
	t.addPeopleFlags(fs)
	usage.Share(fs)
}

// run is one command while it runs.
type run struct {
	tool *Tool
	*settings
	parameters
	dialect string // of the controller that we are connected to
	link    string // how we are connected, or try to be
	invalid error  // of the settings, which only show-settings can go on with
	messages

	stdin  io.Reader
	stdout io.Writer // shows no control characters on a terminal
	output           // for people
}

// command returns a command that calls do. It takes the arguments that use names.
func (t *Tool) command(use, short string, do func(ctx context.Context, r *run, args []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Called the right way; from here on we say ourselves what is wrong.
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
	t.AddFlags(cmd.Flags())
	t.document(cmd)
	usage.Exclude(cmd, "quiet", "verbose")
	return cmd
}

// prepare gathers the settings. The run that it returns can say what is wrong
// even if there is an error.
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
	r := &run{tool: t, stdin: cmd.InOrStdin()}
	if err := r.look(cmd); err != nil {
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
	r.rich = r.richLog
	if !t.flags.quiet {
		r.show = verbosity(r.verbosity)
	}
	return r, nil
}

// checkOptions checks those of the shared options that do not take any text.
func (t *Tool) checkOptions() error {
	// For zeek-client a wrong address is a failure and no wrong use.
	if t.People && t.flags.controller != "" {
		_, port, err := splitController(t.flags.controller)
		if n, numberErr := strconv.ParseUint(port, 10, 16); err == nil && port != "" && (numberErr != nil || n == 0) {
			err = fmt.Errorf("port %q is not in 1..65535", port)
		}
		if err != nil {
			return fmt.Errorf("--controller %q: %w", t.flags.controller, err)
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

// fail says what is wrong, one error in a line, and returns the error to end
// with.
func (r *run) fail(format string, args ...any) error {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		r.error("%s", strings.TrimSuffix(line, "\n"))
	}
	return &ExitError{Code: 1}
}

// failIf returns the error to end with if failed.
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
