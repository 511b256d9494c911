package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// startController starts a controller that supports the requests of Zeek's
// controller. It returns the address for clients.
func startController(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := websocket.NewServer(websocket.ServerConfig{ReceiveOverflow: broker.OverflowBlock, SendOverflow: broker.OverflowDisconnect})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var services sync.WaitGroup
	services.Go(func() { _ = server.Serve(ctx, l) })
	services.Go(func() {
		if err := controller.Run(ctx, controller.Config{
			Settings: controller.DefaultSettings(),
			Buses:    []broker.Bus{server},
			Dialects: []*zeekapi.Dialect{management.Dialect(management.DefaultTopics)},
			Log:      zerolog.Nop(),
		}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		server.Close()
		services.Wait()
	})
	return l.Addr().String()
}

// call runs the program, which must succeed.
func call(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	var out, errOut strings.Builder
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("%v: exit code %d\n%s", args, code, errOut.String())
	}
	return out.String()
}

// TestCompletion checks the completions of the last word, which may be empty, of
// command lines.
func TestCompletion(t *testing.T) {
	address := startController(t)
	file := filepath.Join(t.TempDir(), "cluster.cfg")
	if err := os.WriteFile(file, []byte(`
[instances]
sensor

[manager]
instance = sensor
role = manager

[worker-1]
instance = sensor
role = worker
interface = eth0

[worker-2]
instance = sensor
role = worker
interface = eth1
`), 0o600); err != nil {
		t.Fatal(err)
	}
	call(t, "--controller", address, "stage-config", file)
	t.Setenv("ZEEK_CLIENT_CONFIG_SETTINGS", "client.transport=websocket")
	completionPatience = time.Minute
	t.Cleanup(func() { completionPatience = 0 })

	for _, tt := range []struct {
		line []string
		want []string
	}{
		{line: []string{"get-i"}, want: []string{"get-id-value", "get-instances"}},
		{line: []string{"--controller", address, "restart", ""}, want: []string{"manager", "worker-1", "worker-2"}},
		{line: []string{"--controller", address, "restart", "worker-1", "w"}, want: []string{"worker-2"}},
		{line: []string{"restart", "--controller", address, "w"}, want: []string{"worker-1", "worker-2"}},
		{line: []string{"--contr", address, "restart", "w"}, want: []string{"worker-1", "worker-2"}}, // abbreviated option
		{line: []string{"--controller", address, "get-id-value", ""}},
		{line: []string{"--controller", address, "get-id-value", "peer_description", "m"}, want: []string{"manager"}},
		{line: []string{"--controller", address, "get-nodes", ""}},
		{line: []string{"--controller", "127.0.0.1:1", "restart", ""}}, // no controller listens at this address
		{line: []string{"get-config", "--st"}, want: []string{"--staged", "--strict-exit"}},
		{line: []string{"get-config", "--filen"}, want: []string{"--filename"}},
		{line: []string{"test-timeout", "--w"}, want: []string{"--with-state"}},
		{line: []string{"--qu"}, want: []string{"--quiet"}},
	} {
		t.Run(strings.Join(tt.line, " "), func(t *testing.T) {
			lines := strings.Split(strings.TrimSuffix(call(t, append([]string{"__complete"}, tt.line...)...), "\n"), "\n")
			var got []string
			for _, line := range lines[:len(lines)-1] { // the last line has directives for the shell
				name, _, _ := strings.Cut(line, "\t")
				if strings.HasPrefix(name, tt.line[len(tt.line)-1]) { // shells filter by prefix
					got = append(got, name)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("completions %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o default -F __start_zeek-client zeek-client",
		"zsh":  "compdef _zeek-client zeek-client",
		"fish": "complete -c zeek-client",
	} {
		if script := call(t, "completion", shell); !strings.Contains(script, want) {
			t.Errorf("the script for %s lacks %q", shell, want)
		}
	}
}
