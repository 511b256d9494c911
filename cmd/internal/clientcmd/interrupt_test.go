package clientcmd_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// TestInterruptDuringRequest checks the exit code after an interrupt while the
// command waits for a response.
func TestInterruptDuringRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot(&clientcmd.Tool{
		Getenv: func(string) string { return "" },
		Dial: inProcess(newController(t, func(zeekapi.Message) zeekapi.Message {
			cancel()
			return nil
		})),
	})
	root.SetArgs([]string{"deploy"})
	var errs strings.Builder
	root.SetErr(&errs)
	if code := clientcmd.ExitCode(root.ExecuteContext(ctx)); code != clientcmd.Interrupted || errs.String() != "" {
		t.Errorf("exit code %d, stderr %q, want exit code %d and no message", code, errs.String(), clientcmd.Interrupted)
	}
}

// TestInterruptDuringRead checks the exit code after an interrupt while the command
// reads a standard input that does not end.
func TestInterruptDuringRead(t *testing.T) {
	stdin, stdinWriter := io.Pipe()
	defer stdinWriter.Close()
	ctx, cancel := context.WithCancel(t.Context())
	root := newRoot(&clientcmd.Tool{Getenv: func(string) string { return "" }})
	root.SetArgs([]string{"stage-config", "-"})
	root.SetIn(stdin)
	go func() {
		io.WriteString(stdinWriter, "[m]\n") // returns when the command has read it
		cancel()
	}()
	if code := clientcmd.ExitCode(root.ExecuteContext(ctx)); code != clientcmd.Interrupted {
		t.Errorf("exit code %d, want %d", code, clientcmd.Interrupted)
	}
}
