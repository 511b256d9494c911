package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/setup"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi/access"
)

// Defaults of the packages.
const (
	defaultConfigDir = "/etc/zeekwire"
	serviceUser      = "zeekwire"
)

// placeFlags are the flags of commands that change the files of services.
type placeFlags struct {
	configDir, stateDir, owner string
}

func (f *placeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.configDir, "config-dir", "", "`DIR` for settings (default "+defaultConfigDir+")")
	cmd.Flags().StringVar(&f.stateDir, "state-dir", "", "`DIR` for state and certificates (default "+defaultStateDir+")")
	_ = cmd.MarkFlagDirname("config-dir") // they fail only for unknown flags
	_ = cmd.MarkFlagDirname("state-dir")
}

// addOwner adds the flag for the owner of new files.
func (f *placeFlags) addOwner(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.owner, "owner", "", "`USER` of the services (default: "+serviceUser+" for root, otherwise your own user)")
}

// place returns the directories. Those of the settings of a service must have been set by
// its file.
func (f *placeFlags) place() (setup.Place, error) {
	p := setup.Place{ConfigDir: defaultConfigDir, StateDir: defaultStateDir, Owner: ownedfile.Own()}
	var err error
	if f.configDir != "" {
		if p.ConfigDir, err = filepath.Abs(f.configDir); err != nil {
			return p, err
		}
	}
	if f.stateDir != "" {
		if p.StateDir, err = filepath.Abs(f.stateDir); err != nil {
			return p, err
		}
	}
	name := f.owner
	if name == "" {
		if os.Geteuid() != 0 {
			return p, nil
		}
		name = serviceUser
	}
	p.Owner, err = ownedfile.Named(name)
	if errors.As(err, new(user.UnknownUserError)) {
		err = fmt.Errorf("there is no user %s: install the package, which makes it, or name the user of the services with --owner", name)
	}
	return p, err
}

// stateSetting returns the setting of the state directory, none if it is the default.
func stateSetting(p setup.Place) []settings.Assignment {
	if p.StateDir == defaultStateDir {
		return nil
	}
	return []settings.Assignment{{Name: "state-dir", Text: p.StateDir}}
}

// controllerSettingsIn returns the settings of the controller in a directory.
func controllerSettingsIn(dir string) (*controllerSettings, error) {
	s := newControllerSettings()
	file := filepath.Join(dir, setup.ControllerFile)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		file = ""
	}
	if err := s.table().Load(file, os.Getenv, nil); err != nil {
		return nil, err
	}
	return s, s.check()
}

// portsOf returns the ports of a controller.
func portsOf(s *controllerSettings) (setup.Ports, error) {
	p := setup.Ports{Agents: s.native.number().Number, Clients: s.websocket.number().Number, Join: s.join.number().Number}
	if p.Agents == 0 || p.Clients == 0 || p.Join == 0 {
		return p, errors.New("the settings of the controller turn off a port that is needed: listen-port, listen-port-websocket or join-port")
	}
	return p, nil
}

// start enables a service and starts it with its new settings.
func start(ctx context.Context, service string) error {
	for _, verb := range []string{"enable", "restart"} {
		out, err := exec.CommandContext(ctx, "systemctl", verb, service).CombinedOutput()
		if err != nil {
			return fmt.Errorf("systemctl %s %s: %w: %s", verb, service, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// report prints what has been written.
func report(w io.Writer, written []setup.Written) {
	width := 0
	for _, f := range written {
		width = max(width, len(f.Name))
	}
	fmt.Fprintln(w, "Wrote")
	for _, f := range written {
		fmt.Fprintf(w, "  %-*s  %s\n", width, f.Name, f.Purpose)
	}
}

// next prints the commands that remain.
func next(w io.Writer, when string, commands ...string) {
	if len(commands) > 0 {
		fmt.Fprintf(w, "\nNext%s:\n  %s\n", when, strings.Join(commands, "\n  "))
	}
}

// safely returns a writer for text of files.
func safely(w io.Writer) io.Writer {
	if terminal.Look(w, os.Getenv, terminal.ColorNever).Terminal {
		return terminal.SafeWriter(w)
	}
	return w
}

// clientConfigFile returns the settings file of client commands if neither a flag nor the
// environment names one: that of the user, which "zeekwire join" writes, or that of
// "zeekwire bootstrap", or that of the installation.
func clientConfigFile() string {
	if dir, err := userClientDir(); err == nil {
		if file := filepath.Join(dir, setup.ClientFile); exists(file) {
			return file
		}
	}
	if file := filepath.Join(defaultConfigDir, setup.ClientFile); exists(file) {
		return file
	}
	return clientcmd.InstalledConfigFile()
}

// userClientDir returns the directory with the settings and the certificate of a user's
// client.
func userClientDir() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "zeekwire"), err
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// role returns the role of a client for a flag.
func role(readOnly bool) string {
	if readOnly {
		return access.ReadOnly.String()
	}
	return access.Full.String()
}
