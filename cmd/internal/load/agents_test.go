package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/peering"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/simulated"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// agentsVariable is the environment variable that makes the test binary run the
// agents. Its value contains their number, the address of the controller and
// the TLS mode.
const agentsVariable = "ZEEKWIRE_LOAD_AGENTS"

func TestMain(m *testing.M) {
	var err error
	switch agents, readers := os.Getenv(agentsVariable), os.Getenv(readersVariable); {
	case agents != "":
		err = runAgents(strings.Fields(agents))
	case readers != "":
		err = runReaders(readers)
	default:
		os.Exit(testbinary.Main(m.Run))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agents or readers:", err)
		os.Exit(1)
	}
}

// startAgents starts the process with the agents. It ends with the test.
func startAgents(t *testing.T, count int, controller, tls string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", agentsVariable, count, controller, tls))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("agents: %v", err)
		}
	})
}

func instance(i int) string { return "agent-" + fmt.Sprintf("%04d", i) }

// runAgents runs agents until the end of standard input.
func runAgents(args []string) error {
	count, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	mode, err := security.ParseMode(args[2])
	if err != nil {
		return err
	}
	layer, err := security.New(security.Config{Mode: mode})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for i := range count {
		group.Go(func() error { return runAgent(ctx, instance(i), args[1], layer) })
	}
	_, err = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	cancel()
	if groupErr := group.Wait(); groupErr != nil {
		return groupErr
	}
	return err
}

var dialects = []*zeekapi.Dialect{
	management.Dialect(management.DefaultTopics),
	clusteragent.Dialect(clusteragent.DefaultTopics),
	operations.Dialect(operations.DefaultTopics),
}

func runAgent(ctx context.Context, name, controller string, layer *security.Layer) error {
	endpoint, err := peering.New(peering.Config{
		Subscriptions:   agent.Topics(name, dialects...),
		ReceiveOverflow: broker.OverflowBlock,
		TLS:             layer.Hook(),
	})
	if err != nil {
		return err
	}
	defer endpoint.Close()
	launcher := simulated.New(simulated.Config{})
	defer launcher.Close(context.Background())
	if err := endpoint.AddPeer(controller); err != nil {
		return err
	}
	return agent.Run(ctx, agent.Config{
		Settings: agent.Settings{Name: name, EndpointID: endpoint.ID().String(), Connecting: true},
		Bus:      endpoint, Dialects: dialects, Launcher: launcher,
	})
}
