package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/setup"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// bootstrapFlags are the flags of the command bootstrap.
type bootstrapFlags struct {
	placeFlags
	names, agents []string
	client        string
	lifetime      time.Duration
	output        string
	start         bool
	replace       bool
}

func newBootstrapCommand() *cobra.Command {
	var f bootstrapFlags
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Make the certificates and settings of a secure cluster",
		Long: `Make the certificates and settings of a secure cluster, on the machine of the
controller.

The command makes an authority, certificates for the controller and for a first
client, settings with which the controller accepts only certificates of the
authority, and a join file for each agent. It does not overwrite files.

A join file lets one machine get one certificate, within an hour. Bring it to
the machine without showing it to others, and run "zeekwire join" there.
"zeekwire invite" makes more of them.

With --replace, the command only replaces the certificate of the controller,
for example because its address has changed.

The private key of the authority can make a certificate for any name. It stays
on this machine, where the controller uses it to issue certificates.`,
		Example: `  zeekwire bootstrap --start --agent sensor-1 --agent sensor-2=10.0.0.2
  zeekwire bootstrap --name controller.example.org --agent sensor-1`,
		Args: usage.Arguments("bootstrap"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringArrayVar(&f.names, "name", nil, "`NAME` or address of this machine, by which the others reach it; may be repeated (default: its address)")
	cmd.Flags().StringArrayVar(&f.agents, "agent", nil, "`NAME[=ADDRESS]` of an agent to make a join file for; may be repeated")
	cmd.Flags().StringVar(&f.client, "client", "admin", "`NAME` of the first client, which has the role full")
	cmd.Flags().DurationVar(&f.lifetime, "lifetime", authority.DefaultLifetime, "`TIME` for which certificates are valid; they are renewed after two thirds of it")
	cmd.Flags().StringVar(&f.output, "output", ".", "`DIR` for the join files")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "only replace the certificate of the controller, for the names and addresses that it has now")
	cmd.Flags().BoolVar(&f.start, "start", false, "enable the controller and start it, with systemd")
	f.add(cmd)
	f.addOwner(cmd)
	_ = cmd.MarkFlagDirname("output") // it fails only for unknown flags
	return cmd
}

func (f *bootstrapFlags) run(cmd *cobra.Command) error {
	agents, err := parseAgents(f.agents)
	if err != nil {
		return usageError(err)
	}
	place, err := f.place()
	if err != nil {
		return err
	}
	s, err := controllerSettingsIn(place.ConfigDir)
	if err != nil {
		return err
	}
	if f.stateDir == "" {
		place.StateDir = s.stateDir
	}
	ports, err := portsOf(s)
	if err != nil {
		return err
	}
	hosts, err := hostsOf(f.names, s)
	if err != nil {
		return err
	}
	out := safely(cmd.OutOrStdout())
	if f.replace {
		return f.reissue(out, place, hosts)
	}
	written, err := setup.Bootstrap{
		Place: place, Hosts: hosts, Client: f.client, Agents: agents,
		Lifetime: f.lifetime, Ports: ports, Local: localAddress(s), Output: f.output, Extra: stateSetting(place),
	}.Run(time.Now())
	if errors.Is(err, os.ErrExist) {
		err = fmt.Errorf("%w\nthis machine has a cluster already, and nothing was changed; \"zeekwire invite\" adds machines to it", err)
	}
	if err != nil {
		return err
	}
	report(out, written)
	if err := reportAuthority(out, place.AuthorityFile(), hosts[0]); err != nil {
		return err
	}
	var commands []string
	if f.start {
		if err := start(cmd.Context(), "zeekwire-controller"); err != nil {
			return err
		}
	} else {
		commands = append(commands, "systemctl enable --now zeekwire-controller")
	}
	for _, a := range agents {
		commands = append(commands, joinCommand(a, filepath.Join(f.output, a.Name+".join")))
	}
	next(out, ", within an hour", append(commands, "zeekwire deploy-config cluster.cfg")...)
	return nil
}

// reissue replaces the certificate of the controller.
func (f *bootstrapFlags) reissue(out io.Writer, place setup.Place, hosts []string) error {
	if len(f.agents) > 0 {
		return usageError(errors.New("--agent: \"zeekwire invite\" makes join files for a cluster that exists"))
	}
	a, err := authority.Open(place.AuthorityDir())
	if err != nil {
		return err
	}
	written, err := place.Reissue(a, time.Now(), hosts)
	if err != nil {
		return err
	}
	report(out, []setup.Written{written})
	fmt.Fprintf(out, "\nLater join files have the address %s. That of earlier ones is in agent.conf.\n", hosts[0])
	next(out, "", "systemctl reload zeekwire-controller")
	return nil
}

// joinCommand returns the command that brings a join file to a machine and uses it.
func joinCommand(a authority.Subject, file string) string {
	machine := a.Name
	if len(a.Hosts) > 0 {
		machine = a.Hosts[0]
	}
	return fmt.Sprintf("ssh root@%s zeekwire join --start - < %s", machine, file)
}

// reportAuthority prints what people may want to compare on other machines.
func reportAuthority(w io.Writer, file, host string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nMachines reach the controller at %s. The fingerprint of its authority is\n  %s\n",
		host, enrol.JoinFile{Authority: string(text)}.Fingerprint())
	return nil
}

// parseAgents parses values of the form NAME or NAME=ADDRESS.
func parseAgents(values []string) ([]authority.Subject, error) {
	var agents []authority.Subject
	for _, value := range values {
		name, host, found := strings.Cut(value, "=")
		s := authority.Subject{Kind: authority.Agent, Name: name}
		if found {
			s.Hosts = []string{host}
		}
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("--agent %q: %w", value, err)
		}
		agents = append(agents, s)
	}
	return agents, nil
}

// maxOwnAddresses limits the addresses of this machine in the controller's certificate.
const maxOwnAddresses = 32

// hostsOf returns the names and addresses of this machine: those that are given, and all
// others that it has. The first one is that at which other machines reach it.
func hostsOf(given []string, s *controllerSettings) ([]string, error) {
	for _, name := range given {
		if err := authority.CheckHost(name); err != nil {
			return nil, usageError(fmt.Errorf("--name %q: %w", name, err))
		}
	}
	var own []string
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() && len(own) < maxOwnAddresses {
			own = append(own, p.Addr().String())
		}
	}
	slices.SortStableFunc(own, func(a, b string) int { return strings.Count(a, ":") - strings.Count(b, ":") }) // IPv4 first
	if name, err := os.Hostname(); err == nil && authority.CheckHost(name) == nil {
		own = append(own, name)
	}
	hosts := slices.Clone(given)
	for _, name := range append(own, "localhost", "127.0.0.1", "::1", localAddress(s)) {
		if !slices.Contains(hosts, name) {
			hosts = append(hosts, name)
		}
	}
	return hosts, nil
}

// localAddress returns the address at which clients on this machine reach the controller.
func localAddress(s *controllerSettings) string {
	host := cmp.Or(s.websocket.address, s.defaultAddress)
	switch a, err := netip.ParseAddr(host); {
	case host == "" || err == nil && a == netip.IPv6Unspecified():
		return "localhost"
	case err == nil && a.IsUnspecified() || authority.CheckHost(host) != nil:
		return "127.0.0.1"
	}
	return host
}
