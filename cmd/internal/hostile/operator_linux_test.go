package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// answerLimit is the longest time that an operator waits for the answer to a
// command.
const answerLimit = 20 * time.Second

// operator uses the cluster by the commands of clients.
type operator struct {
	binary    string
	cluster   *cluster
	rounds    int
	slowest   time.Duration
	slowestOf string
}

// round runs one command of each kind.
func (o *operator) round(ctx context.Context) error {
	o.rounds++
	for _, step := range []struct {
		args []string
		want []string // in the output
	}{
		{[]string{"status"}, []string{instance, worker}},
		{[]string{"get-nodes"}, []string{instance, worker}},
		{[]string{"deploy-config", o.cluster.configs[o.rounds%2]}, []string{worker}},
		{[]string{"restart", worker}, []string{worker}},
	} {
		if err := o.command(ctx, step.args, step.want); err != nil {
			return err
		}
	}
	if o.cluster.ports != nil {
		return o.cluster.ports.use(ctx, o)
	}
	return nil
}

// recover waits until the operator is answered again.
func (o *operator) recover(ctx context.Context) error {
	deadline := time.Now().Add(answerLimit)
	for {
		err := o.round(ctx)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Second)
	}
}

// command runs a command of a client, which must succeed in time and print what is wanted.
func (o *operator) command(ctx context.Context, args, want []string) error {
	flags := []string{"--controller", o.cluster.websocket}
	if !*full {
		flags = append(flags, "--transport", "websocket") // to find that out, a command waits 0.2 s
	}
	return o.run(ctx, args[0], slices.Concat(flags, o.cluster.credentials.client, args), want)
}

// run runs the program. Name is that of the command.
func (o *operator) run(ctx context.Context, name string, args, want []string) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.binary, args...)
	cmd.Env = append(os.Environ(), o.cluster.credentials.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	o.took(name, time.Since(began))
	missing := func(w string) bool { return !strings.Contains(stdout.String(), w) }
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer to %s within %v", name, answerLimit)
	case err != nil:
		text := strings.Join(strings.Fields(stderr.String()+stdout.String()), " ")
		return fmt.Errorf("%s: %v: %s", name, err, text[max(0, len(text)-500):])
	case slices.ContainsFunc(want, missing):
		return fmt.Errorf("%s: the answer lacks %q: %.300s", name, want, stdout.String())
	case strings.Contains(stdout.String()+stderr.String(), attack.ForgedError):
		return fmt.Errorf("%s: the answer is forged: %.300s", name, stdout.String())
	}
	return nil
}

// took notes how long an answer took.
func (o *operator) took(name string, d time.Duration) {
	if d > o.slowest {
		o.slowest, o.slowestOf = d, name
	}
}

// resident is a client that is connected before the attack and must stay so.
type resident struct {
	bus     *websocket.Client
	client  *client.Client
	slowest time.Duration
}

func newResident(ctx context.Context, c *cluster) (*resident, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	bus, err := websocket.Dial(ctx, websocket.ClientConfig{
		Address: c.websocket, Subscriptions: []string{management.DefaultTopics.Controller}, TLS: c.credentials.tls, Header: c.credentials.header,
	})
	if err != nil {
		return nil, err
	}
	return &resident{bus: bus, client: client.New(bus, management.Dialect(management.DefaultTopics))}, nil
}

// ask asks again and again until ctx ends.
func (r *resident) ask(ctx context.Context) error {
	defer r.client.Close()
	for ctx.Err() == nil {
		began := time.Now()
		once, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		nodes, err := r.client.GetNodes(once)
		cancel()
		r.slowest = max(r.slowest, time.Since(began))
		if err != nil {
			return fmt.Errorf("a client that was connected before: %w", err)
		}
		if !slices.ContainsFunc(nodes, func(n client.InstanceNodes) bool { return n.Instance == instance && n.Err == nil }) {
			return errors.New("a client that was connected before got no nodes of " + instance)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
