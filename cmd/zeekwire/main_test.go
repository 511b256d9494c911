package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// output is a buffer for concurrent writers.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func call(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, errOut output
	code = run(ctx, args, strings.NewReader(""), &out, &errOut)
	return out.String(), errOut.String(), code
}

func TestDemo(t *testing.T) {
	stdout, stderr, code := call(t.Context(), "demo")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	for _, node := range []string{"manager", "logger", "proxy", "worker-1", "worker-2", "worker-3"} {
		found := false
		for line := range strings.Lines(stdout) {
			words := strings.Fields(line)
			found = found || len(words) > 3 && words[1] == node && words[3] == "RUNNING"
		}
		if !found {
			t.Errorf("%s is not running:\n%s", node, stdout)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		env  map[string]string
		code int
		want string
	}{
		{args: []string{"bogus"}, code: 2, want: `error: unknown command "bogus" for "zeekwire"`},
		{args: []string{"controller", "--bogus"}, code: 2, want: "error: unknown flag: --bogus"},
		{args: []string{"controller", "x"}, code: 2, want: `error: unexpected argument "x"; usage: zeekwire controller`},
		{args: []string{"controller", "--listen", "x"}, code: 2, want: `error: --listen "x": want HOST:PORT, such as x:2150, or none`},
		{args: []string{"controller", "--listen", "x:70000"}, code: 2, want: `error: --listen "x:70000": port "70000" is not in 0..65535`},
		{args: []string{"controller", "--tls", "x"}, code: 2, want: `error: --tls "x": want off, anonymous or mutual`},
		{args: []string{"controller", "--tls", "mutual"}, code: 2, want: "error: --tls mutual: set --tls-cert, --tls-key, --tls-ca as well\n"},
		{args: []string{"controller", "--tls", "mutual", "--tls-cert", "x", "--tls-ca", "x"}, code: 2, want: "error: --tls mutual: set --tls-key as well\n"},
		{args: []string{"controller", "--tls-cert", "x", "--tls-key", "x"}, code: 2, want: "error: --tls-cert, --tls-key: requires --tls mutual, but --tls is anonymous\n"},
		{args: []string{"subscribe", "--connect", "127.0.0.1:1", "--tls", "mutual", "t"}, code: 2, want: "error: --tls mutual: set --tls-cert, "},
		{args: []string{"subscribe", "--tls", "x", "t"}, code: 2, want: `error: --tls "x": want off, anonymous or mutual`},
		{args: []string{"subscribe", "--transport", "x", "t"}, code: 2, want: `error: --transport "x": want native or websocket`},
		{args: []string{"subscribe", "--timeout", "x", "t"}, code: 2, want: `error: --timeout "x": want a time such as 30s or 5m`},
		{args: []string{"subscribe", "--timeout", "0", "t"}, code: 2, want: "error: --timeout 0s: want more than 0"},
		{args: []string{"subscribe", "--count", "-1", "t"}, code: 2, want: "error: --count -1: want a number from 1"},
		{args: []string{"subscribe"}, code: 2, want: "error: missing PREFIX; usage: zeekwire subscribe PREFIX...\n"},
		{args: []string{"publish", "/t"}, code: 2, want: "error: missing EVENT; usage: zeekwire publish TOPIC EVENT [TYPE:TEXT...]\n"},
		{args: []string{"publish", "/t", "e", "x"}, code: 2, want: `error: argument "x" has no type`},
		{args: []string{"replay", "x"}, code: 2, want: "error: missing --as; usage: zeekwire replay FILE --as client|server --connect|--listen HOST:PORT\n"},
		{args: []string{"replay", "--as", "client"}, code: 2, want: "error: missing FILE; usage: "},
		{args: []string{"replay", "--as", "x", "--connect", "x", "y"}, code: 2, want: `error: --as "x": want client or server`},
		{args: []string{"replay", "--as", "server", "--connect", "x", "y"}, code: 2, want: "error: --as server: want --listen HOST:PORT, and no --connect"},
		{args: []string{"replay", "--as", "server", "--connect", "x", "--listen", "x", "y"}, code: 2, want: "error: --connect and --listen cannot be used together"},
		{args: []string{"record", "--listen", "x"}, code: 2, want: "error: missing --connect; usage: zeekwire record --listen HOST:PORT --connect HOST:PORT --output PATH\n"},
		{args: []string{"record", "--listen", "x", "--listen", "x", "--connect", "x", "--output", "x"}, code: 2, want: "error: every --listen requires a --connect"},
		{args: []string{"demo", "x"}, code: 2, want: `error: unexpected argument "x"; usage: zeekwire demo`},
		{args: []string{"completion", "tcsh"}, code: 2, want: `error: no completions for "tcsh"; usage: zeekwire completion bash|fish|powershell|zsh`},
		{args: []string{"completion"}, code: 2, want: "error: missing SHELL; usage: zeekwire completion bash|fish|powershell|zsh"},
		{args: []string{"help", "bogus"}, code: 2, want: `error: unknown command "bogus" for "zeekwire"; "zeekwire --help" lists the commands`},
		{args: []string{"statsu"}, code: 2, want: "error: unknown command \"statsu\" for \"zeekwire\", did you mean status?\n"},
		{args: []string{"peerstatus"}, code: 2, want: "error: unknown command \"peerstatus\" for \"zeekwire\", did you mean peers?\n"},
		{args: []string{"install"}, code: 2, want: "error: unknown command \"install\" for \"zeekwire\", did you mean deploy-config?\n"},
		{args: []string{"version", "x"}, code: 2, want: `error: unexpected argument "x"; usage: zeekwire version`},
		{args: []string{"completion", "bash", "x"}, code: 2, want: `error: unexpected argument "x"; usage: zeekwire completion bash`},
		{args: []string{"agent", "--lancher", "zeek"}, code: 2, want: "error: unknown flag: --lancher, did you mean --launcher?\n"},
		{args: []string{"controller", "--auto-assign-broker-start-port", "none"}, code: 2, want: `error: --auto-assign-broker-start-port "none": want a port from 1 to 65535`},
		{args: []string{"controller", "--auto-assign-metrics-start-port", "0/tcp"}, code: 2, want: `error: --auto-assign-metrics-start-port "0/tcp": want a port from 1 to 65535`},
		{args: []string{"controller", "--print-config"}, env: map[string]string{"ZEEKWIRE_CONTROLLER_LISTN": "x"},
			want: "warning: ZEEKWIRE_CONTROLLER_LISTN: unknown variable, did you mean ZEEKWIRE_CONTROLLER_LISTEN?\n"},
		{args: []string{"controller", "--name", "c", "--listen", "127.0.0.1:x"}, env: map[string]string{"ZEEKWIRE_LISTEN": "x"}, code: 2, want: `port "x" is not in 0..65535`},
		{args: []string{"controller", "--state-dir", file}, env: map[string]string{"ZEEKWIRE_LISTEN": "x"}, code: 1,
			want: "environment: ZEEKWIRE_LISTEN: unknown variable, did you mean ZEEKWIRE_CONTROLLER_LISTEN?\n"},
		{args: []string{"controller", "--log-level", "x"}, code: 2, want: `error: --log-level "x": want debug, info, warn or error`},
		{args: []string{"controller", "--log-format", "x"}, code: 2, want: `error: --log-format "x": want console or json`},
		{args: []string{"controller", "--state-dir", file, "--listen", "127.0.0.1:0", "--websocket-listen", "none"}, code: 1, want: "error: state directory " + file + ": " + file + " is not a directory; choose another one with --state-dir DIR\n"},
		{args: []string{"controller"}, env: map[string]string{"ZEEK_CONTROLLER_PORT": "x"}, code: 2,
			want: `error: ZEEK_CONTROLLER_PORT "x": want a port such as 2150/tcp, or none`},
		{args: []string{"agent", "--launcher", "x", "--listen", "127.0.0.1:0"}, code: 2, want: `error: --launcher "x": want zeek, supervisor or simulated`},
		{args: []string{"controller", "--name", "a/../../b", "--state-dir", t.TempDir()}, code: 2, want: `error: --name "a/../../b": want a name that is also a valid file name`},
		{args: []string{"agent", "--name", "..", "--state-dir", t.TempDir()}, code: 2, want: `error: --name "..": want a name that is also a valid file name`},
		{args: []string{"agent"}, env: map[string]string{"ZEEK_AGENT_NAME": "a\nb"}, code: 2, want: `error: ZEEK_AGENT_NAME "a\nb": want a name that is also a valid file name`},
		{args: []string{"agent", "--listen", "none"}, code: 2, want: "error: --listen \"none\": want a port: nodes connect to the agent"},
		{args: []string{"agent"}, env: map[string]string{"ZEEK_AGENT_PORT": "0/unknown"}, code: 2, want: "error: ZEEK_AGENT_PORT \"none\": want a port: nodes connect to the agent"},
		{args: []string{"agent", "--zeek", "/nonexistent/zeek", "--listen", "127.0.0.1:0", "--state-dir", t.TempDir(), "--log-level", "error"},
			code: 1, want: "error: zeek program \"/nonexistent/zeek\": no such file or directory; install Zeek, or name its program with --zeek PATH; --launcher simulated works without Zeek\n"},
		{args: []string{"agent", "--check", "--launcher", "simulated", "--scenario", file}, code: 1, want: "error: --scenario: "},
		{args: []string{"controller", "--config", "/nonexistent.conf"}, code: 2, want: "error: settings file /nonexistent.conf: no such file or directory\n"},
		{args: []string{"agent", "--name", "a b", "--check"}, code: 2, want: "error: --name \"a b\": name \"a b\": want printable characters other than spaces, slashes and quotes\n"},
		{args: []string{"record", "--listen", "127.0.0.1:0", "--connect", "127.0.0.1:1", "--output", "/nonexistent/x.jsonl"}, code: 1, want: "error: record: stat /nonexistent: no such file or directory\n"},
		{args: []string{"man", "--dir", file + "/x"}, code: 1, want: "error: mkdir " + file + ": not a directory\n"},
		{args: []string{"decode", file}, code: 1, want: file + ":1: "},
		{args: []string{"decode"}, code: 2, want: "error: missing FILE; usage: zeekwire decode FILE...\n"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, stderr, code := call(t.Context(), tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d and %q, want %d and %q", code, stderr, tt.code, tt.want)
			}
		})
	}
}

// The shared flags of the client commands are accepted before the command.
// Other commands ignore them.
func TestSharedFlagsBeforeTheCommand(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string // parts of the output
	}{
		{args: []string{"--controller", "192.0.2.1:47", "show-settings"}, stdout: "\nhost = 192.0.2.1\nport = 47\n"},
		{args: []string{"-v", "--set", "client.request_timeout_secs=7", "show-settings"}, stdout: "\nrequest_timeout_secs = 7\n"},
		{args: []string{"--controller", "show-settings", "show-settings"}, stdout: "\nhost = show-settings\n"},
		{args: []string{"-q", "show-settings", "-v"}, code: 2, stderr: "error: --quiet and --verbose cannot be used together\n"},
		{args: []string{"get-nodes", "x"}, code: 2, stderr: `error: unexpected argument "x"; usage: zeekwire get-nodes`},
		{args: []string{"get-id-value"}, code: 2, stderr: "error: missing IDENTIFIER; usage: zeekwire get-id-value IDENTIFIER [NODE...]\n"},
		{args: []string{"replay", "--as", "client", "x.jsonl"}, code: 2, stderr: "error: --as client: want --connect HOST:PORT, and no --listen\n"},
		{args: []string{"rollback", "1", "2"}, code: 2, stderr: "error: unexpected argument \"2\"; usage: zeekwire rollback [NUMBER]\n"},
		{args: []string{"history", "--limit", "-1"}, code: 2, stderr: "error: --limit \"-1\": want a number\n"},
		{args: []string{"get-nodes", "--json=perhaps"}, code: 2, stderr: "error: --json \"perhaps\": want true or false\n"},
		{args: []string{"rolling-restart", "--at-once", "0"}, code: 2, stderr: "error: --at-once: want at least 1\n"},
		{args: []string{"get-nodes", "--transport", "smoke"}, code: 2, stderr: "error: --transport \"smoke\": want auto, websocket, native or http\n"},
		{args: []string{"--dialect", "klingon", "get-nodes"}, code: 2, stderr: "error: --dialect \"klingon\": want auto, management or cluster\n"},
		{args: []string{"--controller", "h:http", "get-nodes"}, code: 2, stderr: "error: --controller \"h:http\": port \"http\" is not in 0..65535\n"},
		{args: []string{"get-nodes", "--controller", "h:0"}, code: 2, stderr: "error: --controller \"h:0\": port \"0\" is not in 1..65535\n"},
		{args: []string{"get-nodes", "--controller", "::1:7"}, code: 2, stderr: "error: --controller \"::1:7\": IPv6 addresses must be surrounded by brackets: [::1]:7, or [::1:7]\n"},
		{args: []string{"--controller", "::1", "show-settings"}, stdout: "\nhost = [::1]\nport = 2149\n"},
		{args: []string{"get-nodes", "--controller", "http://h:47/x"}, code: 2, stderr: "error: --controller \"http://h:47/x\": want HOST:PORT and no URL, here h:47\n"},
		{args: []string{"get-nodes", "--controller", "wss://h"}, code: 2, stderr: "want HOST:PORT and no URL, here h, with --set ssl.enable=yes for TLS\n"},
		{args: []string{"get-nodes", "--set", "controller.host=ws://h:47"}, code: 1, stderr: "setting controller.host is \"ws://h:47\", want HOST:PORT and no URL, here h:47 (--set)\n"},
		{args: []string{"get-nodes", "--set", "controller.host=h:47"}, code: 1, stderr: "want a host without a port"},
		{args: []string{"record", "--listen", "ws://h:1", "--connect", "h:1", "--output", "x"}, code: 2, stderr: "error: --listen \"ws://h:1\": want HOST:PORT and no URL, here h:1\n"},
		{args: []string{"replay", "--as", "client", "--connect", "h", "x.jsonl"}, code: 2, stderr: "error: --connect \"h\": want HOST:PORT, such as h:9999\n"},
		{args: []string{"agent", "--controller", "10.0.0.1"}, code: 2, stderr: "error: --controller \"10.0.0.1\": want HOST:PORT, such as 10.0.0.1:2150, or none\n"},
		{args: []string{"controller", "--listen", "http://h:1"}, code: 2, stderr: "error: --listen \"http://h:1\": want HOST:PORT and no URL, here h:1, or none\n"},
		{args: []string{"--controller", "h:http", "show-settings"}, code: 2, stderr: "error: --controller "},
		{args: []string{"--set", "client.transport=smoke", "get-nodes"}, code: 1, stderr: "transport \"smoke\": want auto, websocket, native or http\n"},
		{args: []string{"-v", "decode", "x"}, code: 2, stderr: "error: unknown shorthand flag: 'v'"},
		{args: []string{"--controller", "x", "controller"}, code: 2, stderr: "error: unknown flag: --controller"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			stdout, stderr, code := call(t.Context(), tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit code %d, %q, %q; want %d, %q, %q", code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

// TestVersion checks that the command prints what the flag prints.
func TestVersion(t *testing.T) {
	flag, _, _ := call(t.Context(), "--version")
	command, stderr, code := call(t.Context(), "version")
	if command != flag || !strings.HasPrefix(flag, "zeekwire version ") || stderr != "" || code != 0 {
		t.Errorf("version prints %q (%q, exit code %d), --version prints %q", command, stderr, code, flag)
	}
}

func TestHelpOfAddresses(t *testing.T) {
	stdout, _, _ := call(t.Context(), "agent", "--help")
	text := strings.Join(strings.Fields(stdout), " ")
	for _, want := range []string{
		"HOST:PORT of the controller; several are separated by commas; none: wait for the controller to connect (default 127.0.0.1:2150)",
		"HOST:PORT to listen at for nodes and controllers (default 0.0.0.0:2151)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the help lacks %q:\n%s", want, stdout)
		}
	}
}

// TestServices runs a controller, an agent and client commands in one process.
func TestServices(t *testing.T) {
	t.Parallel()
	for _, tls := range []string{"off", "anonymous"} {
		t.Run("tls "+tls, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			native, clients, listens := peertest.FreeAddress(t), peertest.FreeAddress(t), peertest.FreeAddress(t)
			var services sync.WaitGroup
			service := func(args ...string) {
				services.Go(func() {
					if _, stderr, code := call(ctx, args...); code != 0 {
						t.Errorf("%s: exit code %d\n%s", args[0], code, stderr)
					}
				})
			}
			service("controller", "--listen", native, "--websocket-listen", clients, "--state-dir", t.TempDir(), "--tls", tls)
			service("agent", "--name", "instance-1", "--controller", native, "--listen", listens,
				"--state-dir", t.TempDir(), "--launcher", "simulated", "--tls", tls)
			defer services.Wait()
			defer cancel()

			file := filepath.Join(t.TempDir(), "cluster.cfg")
			config := "[instances]\ninstance-1\n[manager]\ninstance = instance-1\nrole = manager\n"
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			await(t, ctx, `"instance-1"`, "get-instances", "--controller", clients)
			stdout, stderr, code := call(ctx, "deploy-config", file, "--controller", clients)
			if code != 0 || !strings.Contains(stdout, `"success": true`) {
				t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
			}
			await(t, ctx, `"state": "RUNNING"`, "get-nodes", "--controller", clients)
		})
	}
}

// await repeats a command until its output contains want.
func await(t *testing.T, ctx context.Context, want string, args ...string) {
	t.Helper()
	for ctx.Err() == nil {
		stdout, _, _ := call(ctx, args...)
		if strings.Contains(stdout, want) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	t.Fatalf("%v does not print %s", args, want)
}

// The commands that replace those of ZeekControl exist, and those do not.
func TestZeekControlNames(t *testing.T) {
	commands := map[string]bool{}
	for _, c := range newCommand().Commands() {
		commands[c.Name()] = true
	}
	for name, theirs := range zeekControlNames {
		if !commands[name] {
			t.Errorf("there is no command %s", name)
		}
		for _, other := range theirs {
			if commands[other] {
				t.Errorf("there is a command %s", other)
			}
		}
	}
}
