package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/setup"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// inviteFlags are the flags of the command invite.
type inviteFlags struct {
	placeFlags
	client, readOnly bool
	output           string
}

func newInviteCommand() *cobra.Command {
	var f inviteFlags
	cmd := &cobra.Command{
		Use:   "invite NAME[=ADDRESS]...",
		Short: "Make join files for more machines or clients",
		Long: `Make join files for more machines or clients, on the machine of the controller.

A join file lets the machine of an agent, or a person, get one certificate for
the name in it, within an hour. An earlier join file for the name that has not
been used becomes invalid. With --client, the command adds the names to the
controller's file of clients.`,
		Example: `  zeekwire invite sensor-3=10.0.0.3
  zeekwire invite --client alice
  zeekwire invite --client --read-only dashboard`,
		Args: usage.Arguments("invite NAME[=ADDRESS]..."),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	cmd.Flags().BoolVar(&f.client, "client", false, "invite clients instead of agents")
	cmd.Flags().BoolVar(&f.readOnly, "read-only", false, "let the clients read only; with --client")
	cmd.Flags().StringVar(&f.output, "output", ".", "`DIR` for the join files")
	f.add(cmd)
	_ = cmd.MarkFlagDirname("output") // it fails only for unknown flags
	return cmd
}

func (f *inviteFlags) run(cmd *cobra.Command, args []string) error {
	if f.readOnly && !f.client {
		return usageError(errors.New("--read-only: requires --client"))
	}
	subjects, err := parseInvited(args, f.client)
	if err != nil {
		return usageError(err)
	}
	s, a, err := f.authority()
	if err != nil {
		return err
	}
	ports, err := portsOf(s)
	if err != nil {
		return err
	}
	if f.client && s.gate.clients == "" {
		return errors.New("the controller has no file of clients: set --clients in its settings")
	}
	out := safely(cmd.OutOrStdout())
	var written []setup.Written
	var commands []string
	for _, subject := range subjects {
		w, err := setup.Invite(a, time.Now(), subject, ports, f.output)
		if err != nil {
			return err
		}
		written = append(written, w)
		if f.client {
			if err := addClient(s.gate.clients, subject.Name, role(f.readOnly)); err != nil {
				return errors.Join(err, os.Remove(w.Name))
			}
			commands = append(commands, "zeekwire join "+filepath.Base(w.Name)+"   (on the machine of "+subject.Name+")")
		} else {
			commands = append(commands, joinCommand(subject, w.Name))
		}
	}
	report(out, written)
	next(out, ", within an hour", commands...)
	return nil
}

// parseInvited returns the subjects that arguments name.
func parseInvited(args []string, client bool) ([]authority.Subject, error) {
	if !client {
		return parseAgents(args)
	}
	var clients []authority.Subject
	for _, name := range args {
		s := authority.Subject{Kind: authority.Client, Name: name}
		if err := s.Check(); err != nil {
			return nil, err
		}
		clients = append(clients, s)
	}
	return clients, nil
}

// authority returns the settings of the controller and its authority.
func (f *placeFlags) authority() (*controllerSettings, *authority.Authority, error) {
	dir := f.configDir
	if dir == "" {
		dir = defaultConfigDir
	}
	s, err := controllerSettingsIn(dir)
	if err != nil {
		return nil, nil, err
	}
	where := s.authority
	if f.stateDir != "" {
		where = setup.Place{StateDir: f.stateDir}.AuthorityDir()
	}
	if where == "" {
		return nil, nil, fmt.Errorf("%s names no authority: run \"zeekwire bootstrap\" first, on the machine of the controller", filepath.Join(dir, setup.ControllerFile))
	}
	a, err := authority.Open(where)
	return s, a, err
}

// addClient adds a client with a certificate to a file of clients, unless it has the same
// role already.
func addClient(file, name, role string) error {
	clients, _, err := access.Load(file)
	if err != nil {
		return err
	}
	for _, c := range clients.List() {
		switch {
		case c.Name != name:
		case c.Certificate && c.Role.String() == role:
			return nil
		default:
			return fmt.Errorf("%s has another line for %s: change or remove it", file, name)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	added := strings.TrimRight(string(text), "\n") + "\n" + name + " " + role + " certificate\n"
	return ownedfile.Replace(file, []byte(strings.TrimLeft(added, "\n")), info.Mode().Perm())
}
