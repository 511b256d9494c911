package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
)

func (t *Tool) getInstances() *cobra.Command {
	return t.command("get-instances", "Show the instances connected to the controller",
		func(ctx context.Context, r *run, _ []string) error {
			instances, err := ask(ctx, r, func(ctx context.Context, c *client.Client) ([]zeekapi.Instance, error) {
				return c.GetInstances(ctx)
			})
			if err != nil {
				return requestError(err, "instance")
			}
			type shown struct {
				Host string  `json:"host,omitempty"`
				Port *uint16 `json:"port,omitempty"`
			}
			all := map[string]shown{}
			for _, i := range instances {
				s := shown{Port: orNull(i.Port.Number)}
				if !i.Connects() || i.Host.String() != "0.0.0.0" {
					s.Host = i.Host.String()
				}
				all[i.Name] = s
			}
			return r.present(all, func() []terminal.Line { return r.instanceTable(instances) })
		})
}

func (t *Tool) getNodes() *cobra.Command {
	return t.command("get-nodes", "Show the active Zeek nodes of each instance",
		func(ctx context.Context, r *run, _ []string) error {
			instances, err := ask(ctx, r, func(ctx context.Context, c *client.Client) ([]client.InstanceNodes, error) {
				return c.GetNodes(ctx)
			})
			if err != nil {
				return err
			}
			stops := r.stoppedAmong(ctx, instances)
			out := newReport()
			invalid := false
			for _, in := range instances {
				if text, ok := refusal(in.Err); ok {
					out.addError(in.Instance, text)
					continue
				}
				if errors.Is(in.Err, client.ErrNoData) {
					out.addError(in.Instance, "result does not contain node status data")
					continue
				}
				if in.Err != nil {
					r.error("NodeStatus data invalid: %v", in.Err)
					invalid = true
				}
				nodes := map[string]nodeStateView{}
				for _, n := range in.Nodes {
					nodes[n.Node] = newNodeStateView(n, stops)
				}
				out.Results[in.Instance] = nodes
			}
			if err := r.present(out, func() []terminal.Line {
				lines := r.nodeTable(instances, out)
				if len(stops) > 0 {
					lines = append(append(lines, terminal.Line{}), stoppedLines(stops, time.Now())...)
				}
				return lines
			}); err != nil {
				return err
			}
			return failIf(len(out.Errors) > 0 || invalid && t.flags.strictExit)
		})
}

// nodeStateView is a node in the list of nodes. The last two keys are not
// in the output of zeek-client.
type nodeStateView struct {
	State       zeekapi.State           `json:"state"`
	MgmtRole    *zeekapi.ManagementRole `json:"mgmt_role"`
	ClusterRole *zeekapi.ClusterRole    `json:"cluster_role"`
	PID         *int64                  `json:"pid,omitempty"`
	Port        *uint16                 `json:"port,omitempty"`
	MetricsPort *uint16                 `json:"metrics_port,omitempty"`
	StoppedBy   *string                 `json:"stopped_by,omitempty"`
	Since       *time.Time              `json:"since,omitempty"`
}

// newNodeStateView returns the view of a node. The map has the nodes that clients have
// stopped, by name.
func newNodeStateView(n zeekapi.NodeStatus, stops map[string]zeekapi.NodeDetail) nodeStateView {
	v := nodeStateView{
		State: n.State, PID: orNull(n.PID),
		Port: orNull(n.Port.Number), MetricsPort: orNull(n.MetricsPort.Number),
	}
	if n.ManagementRole != zeekapi.ManagementNone {
		v.MgmtRole = &n.ManagementRole
	}
	if n.ClusterRole != zeekapi.RoleNone {
		v.ClusterRole = &n.ClusterRole
	}
	if stop, ok := stops[n.Node]; ok {
		v.StoppedBy, v.Since = &stop.StoppedBy, orNullTime(stop.Since)
	}
	return v
}

func (t *Tool) getIDValue() *cobra.Command {
	cmd := t.command("get-id-value IDENTIFIER [NODE...]",
		"Show the value of a global variable (default: of all nodes)",
		func(ctx context.Context, r *run, args []string) error {
			c, err := r.connect(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			nodes, err := r.selectNodes(ctx, c, args[1:])
			if err != nil {
				return err
			}
			values, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]client.NodeValue, error) {
				return c.GetIDValue(ctx, args[0], nodes...)
			})
			if err != nil {
				return err
			}
			out := newReport()
			for _, v := range values {
				text, refused := refusal(v.Err)
				var mapping *record.Error
				switch {
				case refused:
					out.addError(v.Node, text)
				case v.Node == "":
					out.Errors = append(out.Errors, map[string]any{"error": fmt.Sprintf("result lacking node: (%s)", v.Value)})
				case errors.Is(v.Err, client.ErrNoData):
					out.addError(v.Node, "invalid result data type None")
				case errors.As(v.Err, &mapping):
					out.addError(v.Node, "invalid result data type ("+mapping.Reason+")")
				case v.Err != nil:
					out.addError(v.Node, fmt.Sprintf("JSON decode error: (%v)", v.Err))
				default:
					out.Results[v.Node] = v.Value
				}
			}
			if err := r.present(out, func() []terminal.Line { return r.valueTable(out) }); err != nil {
				return err
			}
			return failIf(len(out.Errors) > 0)
		})
	t.addSelection(cmd)
	return cmd
}

func (t *Tool) restart() *cobra.Command {
	cmd := t.command("restart [NODE...]", "Restart nodes (default: all nodes)",
		func(ctx context.Context, r *run, args []string) error {
			c, err := r.connectAsTool(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			names, err := r.selectNodes(ctx, c, args)
			if err != nil {
				return err
			}
			stop := r.showProgress(ctx, c, newProgress("Restarting", withNames(names)), nil)
			results, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) ([]zeekapi.Result, error) {
				return c.Restart(ctx, names...)
			})
			stop()
			r.reportInterrupted(ctx)
			if err != nil {
				return err
			}
			out := newReport()
			failed := false
			for _, res := range results {
				failed = failed || !res.Success
				if t.Extended && !r.tables && !res.Success && res.Node != "" && res.Instance != "" {
					r.warning("%s on %s: %s", res.Node, res.Instance, res.Error) // the JSON of zeek-client has no reasons
				}
				switch {
				case !res.Success && res.Instance == "":
					out.addError(res.Node, res.Error)
				case res.Node != "":
					out.Results[res.Node] = res.Success
				default:
					out.Errors = append(out.Errors, map[string]any{
						"error": fmt.Sprintf("result lacking node: (instance %q, success %t, error %q)", res.Instance, res.Success, res.Error),
					})
				}
			}
			if err := r.present(out, func() []terminal.Line { return r.restartTable(results, out) }); err != nil {
				return err
			}
			return failIf(len(out.Errors) > 0 || failed && t.flags.strictExit)
		})
	t.addSelection(cmd)
	return cmd
}

func (t *Tool) testTimeout() *cobra.Command {
	var withState bool
	cmd := t.command("test-timeout", "Send a request that times out (for testing)",
		func(ctx context.Context, r *run, _ []string) error {
			res, err := ask(ctx, r, func(ctx context.Context, c *client.Client) (zeekapi.Result, error) {
				return c.TestTimeout(ctx, withState)
			})
			if err != nil {
				return err
			}
			return r.print(map[string]any{"success": res.Success, "error": orNull(res.Error)})
		})
	cmd.Flags().BoolVar(&withState, "with-state", false, "controller state for the request, so that it reports the timeout")
	return cmd
}

func (t *Tool) monitor() *cobra.Command {
	return t.command("monitor", "Show messages from the controller (for troubleshooting)",
		func(ctx context.Context, r *run, _ []string) error {
			ctx, end := context.WithCancelCause(ctx)
			defer end(nil)
			report := func(err error) { r.error("%v", err) } // zeek-client goes on
			if t.Extended {
				report = end
			}
			bus, err := r.dial(ctx, report)
			if err != nil {
				return err
			}
			defer bus.Close()
			if bus.Transport == connect.HTTP {
				return errors.New("the HTTP API has no messages to other clients; use the controller's port for clients, by default 2149")
			}
			for {
				next, cancel := context.WithTimeout(ctx, r.timeout)
				notification, err := bus.Next(next)
				cancel()
				switch n := notification.(type) {
				case broker.Received:
					fmt.Fprintf(r.stdout, "received \"%s\"\n", eventText(n.Message.Value))
				case broker.PeerLost:
					if ctx.Err() != nil { // which ends the connection
						return context.Cause(ctx)
					}
					return n.Err
				}
				switch {
				case ctx.Err() != nil:
					return context.Cause(ctx)
				case err != nil && next.Err() == nil:
					return err
				case err != nil:
					fmt.Fprintf(r.stdout, "no response received: %s\n", r.noResponseReason(context.DeadlineExceeded))
				}
			}
		})
}

// eventText formats an event as a function call, and other values as Broker does.
func eventText(v broker.Value) string {
	if ev, err := broker.ParseEvent(v); err == nil {
		return ev.String()
	}
	return v.String()
}

func (t *Tool) showSettings() *cobra.Command {
	cmd := t.command("show-settings", "Show the settings of the client commands",
		func(_ context.Context, r *run, _ []string) error {
			text, err := r.settings.write()
			if err != nil {
				return err
			}
			_, err = r.stdout.Write(text)
			return err
		})
	cmd.Long = cmd.Short + `.

Settings come from a file, the environment and the command line. In addition to
zeek-client's settings there are client.transport, client.dialect, client.token
and client.insecure_token (see --insecure-token), and controller.addresses, the
HOST:PORT of several controllers instead of controller.host and controller.port.
They are shown only if set; the token is shown as "(hidden)".`
	return cmd
}
