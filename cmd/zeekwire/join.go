package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/setup"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// joinFlags are the flags of the command join.
type joinFlags struct {
	placeFlags
	replace, start bool
}

func newJoinCommand() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use:   "join FILE",
		Short: "Get the certificate of a join file, and make settings for it",
		Long: `Get the certificate of a join file from the controller, and make the settings
that use it. "zeekwire bootstrap" and "zeekwire invite" make join files; "-" is
standard input. A join file is valid once, within an hour.

With the file of an agent, the command adds to the settings of this machine's
agent. With the file of a client, it makes settings for your own client
commands. It makes the private key on this machine, and sends a request for a
certificate to the controller. The controller's own certificate must be of the
authority in the file. The command overwrites nothing, and starts no service
without --start.`,
		Example: `  zeekwire join sensor-1.join
  ssh root@sensor-1 zeekwire join --start - < sensor-1.join`,
		Args: usage.Arguments("join FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&f.replace, "replace", false, "replace the certificate of an earlier join file")
	cmd.Flags().BoolVar(&f.start, "start", false, "enable the agent and start it, with systemd")
	f.add(cmd)
	f.addOwner(cmd)
	return cmd
}

func (f *joinFlags) run(cmd *cobra.Command, name string) error {
	file, err := readJoinFile(cmd, name)
	if err != nil {
		return err
	}
	if f.start && file.Kind != authority.Agent {
		return usageError(fmt.Errorf("--start: the file is for a %s, which is no service", file.Kind))
	}
	j := setup.Join{File: file, Replace: f.replace}
	if file.Kind == authority.Client {
		j.Place, err = f.clientPlace()
	} else {
		j.Place, err = f.agentPlace()
		j.Extra = stateSetting(j.Place)
	}
	if err != nil {
		return err
	}
	out := safely(cmd.OutOrStdout())
	written, err := j.Run(cmd.Context())
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%w\nthis machine has joined already, and the file has not been used; --replace replaces its certificate", err)
	}
	if err != nil {
		return err
	}
	report(out, written)
	switch {
	case file.Kind == authority.Client:
		next(out, "", "zeekwire status")
	case f.start:
		return start(cmd.Context(), "zeekwire-agent")
	default:
		next(out, "", "systemctl enable --now zeekwire-agent")
	}
	return nil
}

// readJoinFile reads a join file, or standard input.
func readJoinFile(cmd *cobra.Command, name string) (enrol.JoinFile, error) {
	var in io.Reader = cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return enrol.JoinFile{}, err
		}
		defer f.Close()
		in = f
	}
	file, err := enrol.ReadJoinFile(in)
	if err != nil {
		return file, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// clientPlace returns the directories of this user's client.
func (f *joinFlags) clientPlace() (setup.Place, error) {
	dir, err := userClientDir()
	if f.configDir != "" {
		dir, err = filepath.Abs(f.configDir)
	}
	return setup.Place{ConfigDir: dir, StateDir: dir, Owner: ownedfile.Own()}, err
}

// agentPlace returns the directories of this machine's agent.
func (f *joinFlags) agentPlace() (setup.Place, error) {
	p, err := f.place()
	if err != nil || f.stateDir != "" {
		return p, err
	}
	given, err := settings.FileAssignments(filepath.Join(p.ConfigDir, setup.AgentFile))
	for _, a := range given {
		if a.Name == "state-dir" {
			p.StateDir = a.Text
		}
	}
	return p, err
}
