package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

func newDemoCommand() *cobra.Command {
	var d demo
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Demonstrate a deployment on this machine",
		Long: `Start a controller and two agents in this process, connect them over loopback,
deploy a cluster of six nodes with the calls of the client commands, and show
each step.

The nodes are simulated, so that Zeek is not needed. With --zeek, they are Zeek
processes without traffic. The cluster and its files are removed at the end, or
with --stay, when the demo is interrupted.`,
		Example: `  zeekwire demo
  zeekwire demo --stay
  zeekwire demo --zeek /opt/zeek/bin/zeek`,
		Args: usage.Arguments("demo"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out, d.log = cmd.OutOrStdout(), zerolog.Nop()
			if verbose {
				d.log = zerolog.New(zerolog.ConsoleWriter{Out: cmd.ErrOrStderr(), NoColor: !isTerminal(cmd.ErrOrStderr()), FormatPrepare: makeSafe})
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.zeek, "zeek", "", "`PATH` of the zeek program that runs the nodes")
	cmd.Flags().StringVar(&d.scenario, "scenario", "", "`FILE` with the behaviour of simulated nodes, as for agents")
	cmd.Flags().BoolVar(&d.stay, "stay", false, "keep the cluster until interrupted, to try commands on it")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log output of the controller and the agents")
	return cmd
}

// demo runs the services and client calls of the demo command.
type demo struct {
	stay     bool
	zeek     string
	scenario string
	out      io.Writer
	log      zerolog.Logger
	step     int

	security *security.Layer
}

// demoPatience limits the duration of the demo, with a wide margin.
const demoPatience = 2 * time.Minute

// run runs the demo and removes its files.
func (d *demo) run(ctx context.Context) (err error) {
	var p preflight
	if d.zeek != "" {
		p.zeek(d.zeek, "without --zeek, the nodes are simulated")
	}
	p.directory("directory of temporary files", os.TempDir(), "the variable TMPDIR")
	if err := p.err(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "zeekwire-demo-")
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(dir)) }()
	if d.security, err = security.New(security.Config{}); err != nil {
		return err
	}

	// The services end after the last call, or after an error.
	services, servicesCtx := errgroup.WithContext(ctx)
	servicesCtx, stop := context.WithCancel(servicesCtx)
	services.Go(func() error {
		defer stop()
		return d.show(servicesCtx, dir, services)
	})
	if err := services.Wait(); err != nil {
		return err
	}
	d.say("Stopped the nodes, the agents and the controller.")
	return nil
}

// show starts the services, which run until running ends, and makes the client's
// calls.
func (d *demo) show(running context.Context, dir string, services *errgroup.Group) error {
	ctx, cancel := context.WithTimeoutCause(running, demoPatience, errors.New("the demo took too long"))
	defer cancel()
	clientsAt, listensAt, err := d.startServices(running, services, dir)
	if err != nil {
		return err
	}
	ws, err := websocket.Dial(ctx, websocket.ClientConfig{
		Address:         clientsAt.String(),
		Subscriptions:   []string{management.DefaultTopics.Controller},
		ApplicationName: "zeekwire-demo",
	})
	if err != nil {
		return err
	}
	c := client.New(ws, management.Dialect(management.DefaultTopics))
	defer c.Close()
	if err := d.deploy(ctx, c, listensAt); err != nil || !d.stay {
		return err
	}
	d.say(`The cluster runs until you press Ctrl-C. Try these commands in another terminal:

  export ZEEK_CLIENT_CONFIG_SETTINGS=controller.port=%d
  %[2]s status
  %[2]s watch
  %[2]s rolling-restart
  %[2]s drain instance-02
`, portOf(clientsAt), os.Args[0])
	<-running.Done()
	return nil
}

// startServices starts a controller, an agent that connects to it, and an agent
// that waits for its connection. It returns the address of the controller for
// clients, and the address at which the second agent waits.
func (d *demo) startServices(ctx context.Context, services *errgroup.Group, dir string) (clientsAt, listensAt net.Addr, err error) {
	controllerAt, clientsAt, webAt, err := d.startController(ctx, services, dir)
	if err != nil {
		return nil, nil, err
	}
	d.say("Started a controller: agents connect to %s, clients to %s, browsers to http://%s/.", controllerAt, clientsAt, webAt)
	if _, err := d.startAgent(ctx, services, "instance-01", dir, controllerAt.String()); err != nil {
		return nil, nil, err
	}
	d.say("Started the agent of instance-01, which connects to the controller.")
	if listensAt, err = d.startAgent(ctx, services, "instance-02", dir); err != nil {
		return nil, nil, err
	}
	d.say("Started the agent of instance-02, which waits for the controller at %s.", listensAt)
	return clientsAt, listensAt, nil
}

// deploy deploys the cluster and shows its nodes when all of them are running.
func (d *demo) deploy(ctx context.Context, c *client.Client, listensAt net.Addr) error {
	if err := d.awaitInstance(ctx, c, "instance-01"); err != nil {
		return err
	}
	d.say("The agent of instance-01 has registered with the controller.")
	id, err := c.Stage(ctx, demoCluster(listensAt))
	if err != nil {
		return err
	}
	d.say("Staged configuration %s: six nodes on two instances.", id)
	deployment, err := c.Deploy(ctx)
	if err != nil {
		return err
	}
	d.showDeployment(deployment)
	nodes, err := d.awaitNodes(ctx, c)
	if err != nil {
		return err
	}
	d.say("Deployed: all six nodes are running.")
	return d.showNodes(nodes)
}

// startController starts a controller and returns its addresses for agents and
// for clients.
func (d *demo) startController(ctx context.Context, services *errgroup.Group, dir string) (native, clients, http net.Addr, err error) {
	type addresses struct{ native, clients, http net.Addr }
	started := make(chan addresses, 1)
	set := newControllerSettings()
	set.name, set.stateDir = "controller", dir
	set.native.set("127.0.0.1", 0)
	set.websocket.set("127.0.0.1", 0)
	set.http.set("127.0.0.1", 0)
	s := controllerService{
		settings: set, security: d.security,
		log:     d.log.With().Str("service", "controller").Logger(),
		started: func(native, clients, http net.Addr) { started <- addresses{native, clients, http} },
	}
	services.Go(func() error { return s.run(ctx) })
	select {
	case a := <-started:
		return a.native, a.clients, a.http, nil
	case <-ctx.Done():
		return nil, nil, nil, context.Cause(ctx)
	}
}

// startAgent starts an agent and returns the address at which it listens.
func (d *demo) startAgent(ctx context.Context, services *errgroup.Group, name, dir string, controllers ...string) (listen net.Addr, err error) {
	started := make(chan net.Addr, 1)
	set := newAgentSettings()
	set.name, set.stateDir, set.controllers = name, filepath.Join(dir, name), controllers
	set.native.set("127.0.0.1", 0)
	set.launcher, set.scenario = launcherSimulated, d.scenario
	if d.zeek != "" {
		set.launcher, set.zeek = launcherZeek, d.zeek
	}
	s := agentService{
		settings: set, security: d.security,
		log:     d.log.With().Str("service", name).Logger(),
		started: func(a net.Addr) { started <- a },
	}
	services.Go(func() error { return s.run(ctx) })
	select {
	case listen := <-started:
		return listen, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// awaitInstance waits until the agent of an instance has registered.
func (d *demo) awaitInstance(ctx context.Context, c *client.Client, name string) error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		instances, err := c.GetInstances(ctx)
		if err != nil {
			return err
		}
		for _, i := range instances {
			if i.Name == name {
				return nil
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, context.Cause(ctx))
		}
	}
}

// demoCluster returns a configuration of six nodes on two instances. The agent
// of instance-02 waits for the controller at listensAt.
func demoCluster(listensAt net.Addr) zeekapi.Configuration {
	node := func(name, instance string, role zeekapi.ClusterRole) zeekapi.Node {
		return zeekapi.Node{Name: name, Instance: instance, Role: role, State: zeekapi.StateRunning}
	}
	return zeekapi.Configuration{
		ID: "demo",
		Instances: []zeekapi.Instance{
			{Name: "instance-01", Host: netip.IPv4Unspecified()},
			{Name: "instance-02", Host: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port: broker.TCP(portOf(listensAt))},
		},
		Nodes: []zeekapi.Node{
			node("manager", "instance-01", zeekapi.RoleManager),
			node("logger", "instance-01", zeekapi.RoleLogger),
			node("proxy", "instance-01", zeekapi.RoleProxy),
			node("worker-1", "instance-01", zeekapi.RoleWorker),
			node("worker-2", "instance-02", zeekapi.RoleWorker),
			node("worker-3", "instance-02", zeekapi.RoleWorker),
		},
	}
}

// showDeployment prints the results of a deployment. A node may still be starting
// when the deployment ends.
func (d *demo) showDeployment(result client.DeployResult) {
	for _, n := range result.Nodes {
		switch {
		case n.Success:
			d.say("%s started %s.", n.Instance, n.Node)
		case n.Outputs != nil && n.Outputs.Stderr != "":
			d.say("%s has not started %s yet. Output of the node:\n%s", n.Instance, n.Node, n.Outputs.Stderr)
		default:
			d.say("%s has not started %s yet.", n.Instance, n.Node)
		}
	}
	for _, e := range result.Errors {
		d.say("Error from an agent or the controller: %s.", e)
	}
}

// awaitNodes waits until all nodes are running and returns the processes of all
// instances. On a busy machine, Zeek processes may take longer to start than a
// deployment waits.
func (d *demo) awaitNodes(ctx context.Context, c *client.Client) ([]client.InstanceNodes, error) {
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	want := len(demoCluster(nil).Nodes)
	for {
		instances, err := c.GetNodes(ctx)
		if err != nil {
			return nil, err
		}
		running := 0
		for _, i := range instances {
			if i.Err != nil {
				return nil, i.Err
			}
			for _, n := range i.Nodes {
				if n.ClusterRole != zeekapi.RoleNone && n.State == zeekapi.StateRunning {
					running++
				}
			}
		}
		if running == want {
			return instances, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d nodes are running: %w", running, want, context.Cause(ctx))
		}
	}
}

// showNodes prints the final node table.
func (d *demo) showNodes(instances []client.InstanceNodes) error {
	fmt.Fprintln(d.out)
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "INSTANCE\tNODE\tROLE\tSTATE\tPID\tPORT\tMETRICS")
	for _, i := range instances {
		for _, n := range i.Nodes {
			role := string(n.ClusterRole)
			if n.ClusterRole == zeekapi.RoleNone {
				role = string(n.ManagementRole)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", i.Instance, n.Node, role, n.State, n.PID, portText(n.Port), portText(n.MetricsPort))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	return nil
}

func portText(p broker.Port) string {
	if p.Number == 0 {
		return "-"
	}
	return p.String()
}

// say prints the next step.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "%2d. %s\n", d.step, fmt.Sprintf(format, args...))
}
