package clientcmd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

func (t *Tool) teardown() *cobra.Command {
	var yes bool
	var o deployOptions
	cmd := t.command("teardown", "Stop all nodes and end the cluster",
		func(ctx context.Context, r *run, _ []string) error {
			if err := r.checkWait(o); err != nil {
				return err
			}
			if !yes {
				switch agreed, err := r.confirm(ctx, "End the cluster of "+r.remote()+" and stop all of its nodes?"); {
				case err != nil:
					return err
				case !agreed:
					return r.misuse("teardown stops all nodes of the cluster; confirm it with --yes")
				}
			}
			d, err := r.connectToDeploy(ctx, o)
			if err != nil {
				return err
			}
			defer d.close()
			return d.upload(ctx, zeekapi.Configuration{ID: uuid.NewString()})
		})
	cmd.Long = cmd.Short + `.

It stages and deploys a configuration without instances and nodes. Agents stay
connected, and stop their nodes. "rollback" starts the cluster again.

On a terminal, the command asks for confirmation. Elsewhere, it requires --yes.
The output is the same as for deploy.`
	cmd.Flags().BoolVar(&yes, "yes", false, "no confirmation")
	addWaitFlag(cmd, &o)
	return cmd
}

// noCluster describes a successful deployment of a configuration without nodes.
const noCluster = "The cluster has no nodes any more; those that ran are stopping."

// addTeardownFlag adds the flag that allows a file without nodes.
func (t *Tool) addTeardownFlag(cmd *cobra.Command, teardown *bool) {
	if t.Extended {
		cmd.Flags().BoolVar(teardown, "teardown", false, "accept a file without nodes, which ends the cluster")
	}
}

// refuseEmpty returns an error if a file has no nodes, because a deployment would
// stop all nodes of the cluster, unless that is allowed or the user agrees.
// zeek-client deploys such files, and scripts use them to end a cluster.
func (r *run) refuseEmpty(ctx context.Context, file *configFile, config zeekapi.Configuration, allowed bool) error {
	if !r.tool.Extended || allowed || len(config.Nodes) > 0 {
		return nil
	}
	if file.name != "<stdin>" {
		agreed, err := r.confirm(ctx, fmt.Sprintf("%s %s. End the cluster of %s and stop all of its nodes?", file.name, file.emptiness(), r.remote()))
		if err != nil || agreed {
			return err
		}
	}
	return r.fail("%s %s; if the cluster should end, use --teardown, or \"zeekwire teardown\"", file.name, file.emptiness())
}

// emptiness describes a file without nodes.
func (f *configFile) emptiness() string {
	if len(bytes.TrimSpace(f.text)) == 0 {
		return "is empty"
	}
	return "has no nodes"
}

// confirm asks a question on the terminal. The answer is no if the input or standard
// error is none.
func (r *run) confirm(ctx context.Context, question string) (bool, error) {
	if !r.asks {
		return false, nil
	}
	fmt.Fprintf(r.messages.w, "%s [y/N] ", question)
	answer, err := readLine(ctx, r.stdin)
	if err != nil {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// readLine reads a line, or returns when ctx ends; see readAll.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	done := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // the end of the input is no answer
		done <- line
	}()
	select {
	case line := <-done:
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// remarkLines returns what the controller remarked about instances.
func remarkLines(d client.DeployResult) []terminal.Line {
	var lines []terminal.Line
	for _, remark := range d.Remarks {
		lines = append(lines, terminal.Text("%s: %s", remark.Instance, remark.Text))
	}
	return lines
}

// remarkViews returns the same for JSON.
func remarkViews(d client.DeployResult) []any {
	var views []any
	for _, remark := range d.Remarks {
		views = append(views, map[string]any{"instance": remark.Instance, "text": remark.Text})
	}
	return views
}
