package clientcmd_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRoot returns a program with only the client commands, like zeek-client.
func newRoot(tool *clientcmd.Tool) *cobra.Command {
	root := &cobra.Command{Use: "zeek-client"}
	tool.AddFlags(root.PersistentFlags())
	root.AddCommand(tool.Commands()...)
	return root
}

// execute runs a command as a main function does.
func execute(t *testing.T, tool *clientcmd.Tool, stdin string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot(tool)
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(t.Context())
	return out.String(), errs.String(), clientcmd.ExitCode(err)
}

// outcome is the output and the exit code of a command.
type outcome struct {
	stdout, stderr string
	exit           int
}

// runCommand runs a command with an empty environment unless the tool has one.
func runCommand(t *testing.T, tool *clientcmd.Tool, stdin string, args ...string) outcome {
	t.Helper()
	if tool.Getenv == nil {
		tool.Getenv = func(string) string { return "" }
	}
	tool.Hostname = func() (string, error) { return "testhost", nil }
	stdout, stderr, exit := execute(t, tool, stdin, args...)
	return outcome{stdout, stderr, exit}
}

func (got outcome) want(t *testing.T, want outcome) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outcome{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// newController returns a controller with the dialects of zeekwire's controller. It
// sends the responses that a function returns, and none for nil.
func newController(t *testing.T, respond func(zeekapi.Message) zeekapi.Message) *fake.Controller {
	t.Helper()
	c, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	c.HandleRest(func(_ context.Context, m zeekapi.Message) ([]zeekapi.Result, error) {
		request, results := zeekapi.ResponseOf(respond(m))
		if request == nil {
			return nil, fake.ErrNoResponse
		}
		return results, nil
	})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// unresponsiveController returns a controller that never responds.
func unresponsiveController(t *testing.T) *fake.Controller {
	t.Helper()
	return newController(t, func(zeekapi.Message) zeekapi.Message { return nil })
}

// inProcess returns a Dial function for a fake controller. As over a WebSocket, the
// client receives the topic of the first dialect and the requested topics.
func inProcess(c *fake.Controller) clientcmd.Dial {
	return func(_ context.Context, o connect.Options) (*connect.Connection, error) {
		return &connect.Connection{Bus: c.Bus(append([]string{topic}, o.Topics...)...)}, nil
	}
}

// respondingTool returns a tool for a controller that sends the responses that the
// function returns.
func respondingTool(t *testing.T, respond func(zeekapi.Message) zeekapi.Message) *clientcmd.Tool {
	t.Helper()
	return &clientcmd.Tool{Dial: inProcess(newController(t, respond))}
}

func marshal(t *testing.T, v any) broker.Value {
	t.Helper()
	out, err := record.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"stage-config"}, {"stage-config", "a", "b"}, {"get-id-value"}, {"get-nodes", "x"}, {"get-nodes", "--nonsense"},
		{"get-config", "--deployed", "--staged"}, {"get-nodes", "-q", "-v"}, {"nonsense"},
	} {
		got := runCommand(t, new(clientcmd.Tool), "", args...)
		if got.exit != 2 || !strings.HasPrefix(got.stderr, "Error: ") {
			t.Errorf("%q: %+v, want exit code 2 and an error", args, got)
		}
	}
}

// TestErrorFromServer checks that a command reports the error message that the
// server sends in place of a response.
func TestErrorFromServer(t *testing.T) {
	onError := make(chan func(error), 1)
	controller := newController(t, func(zeekapi.Message) zeekapi.Message {
		(<-onError)(jsonv1.Error{Code: "deserialization_failed", Context: "failed to create Zeek event"})
		return nil
	})
	tool := &clientcmd.Tool{Dial: func(ctx context.Context, o connect.Options) (*connect.Connection, error) {
		onError <- o.OnError
		return inProcess(controller)(ctx, o)
	}}
	runCommand(t, tool, "", "deploy").want(t, outcome{exit: 1,
		stderr: "error: the server refused the request: deserialization_failed: failed to create Zeek event\n"})
}

// syncBuffer is an output that can be read while a command writes to it.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *syncBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the text that was written since the last call.
func (l *syncBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// interruptAfterMinute runs a command that waits, interrupts it after a minute, and
// returns its output. The test must be in a bubble of synctest.
func interruptAfterMinute(t *testing.T, controller *fake.Controller, command string) (stdout, stderr string) {
	t.Helper()
	return interruptToolAfterMinute(t, &clientcmd.Tool{Extended: true, Getenv: noEnv, Dial: inProcess(controller)}, command)
}

// interruptToolAfterMinute is interruptAfterMinute for a tool.
func interruptToolAfterMinute(t *testing.T, tool *clientcmd.Tool, command string) (stdout, stderr string) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	root := newRoot(tool)
	root.SetArgs([]string{command})
	var out, errs syncBuffer
	root.SetOut(&out)
	root.SetErr(&errs)
	ended := make(chan error)
	go func() { ended <- root.ExecuteContext(ctx) }()
	time.Sleep(time.Minute)
	interrupt()
	if code := clientcmd.ExitCode(<-ended); code != clientcmd.Interrupted {
		t.Errorf("exit code %d, want %d", code, clientcmd.Interrupted)
	}
	return out.take(), errs.take()
}

// compareGolden compares the output of commands with a golden file, or replaces the file
// with -update.
func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
