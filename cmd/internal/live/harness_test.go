package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// patience limits the time of one wait. It only makes failing tests end; it is
// not a measure of performance.
const patience = 60 * time.Second

var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "zeekwire-live")
	if err != nil {
		return "", err
	}
	return testbinary.Build(dir)
})

func zeekwire(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var freePort = peertest.FreePort

func at(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// process is a program that runs until the test ends.
type process struct {
	name string
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
}

// output collects the output of a process.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return tail(o.buf.String(), lines)
}

// start starts a program in its own process group and directory, and stops the
// group at the end of the test. If the test fails, it logs the last lines of
// the program's output and of all logs.
func start(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{name: name, out: new(output), done: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = t.TempDir()
	showLogs(t, filepath.Dir(p.cmd.Dir))
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the output shows how it ended
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("last output of %s:\n%s", name, p.out.tail(40))
		}
	})
	return p
}

// logsShown contains the folders for which showLogs was called.
var logsShown sync.Map

// showLogs logs, if the test fails, the last lines of all logs below a folder,
// which contains all temporary folders of the test. This includes the output of
// nodes, which no process collects.
func showLogs(t *testing.T, folder string) {
	if _, again := logsShown.LoadOrStore(folder, true); again {
		return
	}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			name := filepath.Base(path)
			if err != nil || entry.IsDir() || name != "stderr" && name != "stdout" && filepath.Ext(name) != ".log" {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil && len(text) > 0 {
				t.Logf("last lines of %s:\n%s", path, tail(string(text), 10))
			}
			return err
		})
		if err != nil {
			t.Logf("logs: %v", err)
		}
	})
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the process group with SIGTERM, and with SIGKILL if that takes too
// long.
func (p *process) stop() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(patience):
	}
	killContainer(p.cmd.Process.Pid)
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.done
}

// kill ends the process group with SIGKILL.
func (p *process) kill() {
	killContainer(p.cmd.Process.Pid)
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// run runs a command and returns its output and exit code.
func run(t *testing.T, env []string, argv ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// eventually calls try repeatedly until it returns nil. The test fails after
// patience.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			checked(t)
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// client is a client program with the address of a controller.
type client struct {
	argv []string

	// partial are the flags with which a deployment goes on without nodes that do
	// not pass the check. Zeek's client has none, and its controller no check.
	partial []string
}

// ours returns zeekwire's client.
func ours(t *testing.T, port int) client {
	return client{argv: []string{zeekwire(t), "--controller", at(port)}, partial: []string{"--partial"}}
}

// dropIn returns our zeek-client, which is built beside zeekwire.
func dropIn(t *testing.T, port int) client {
	t.Helper()
	program := filepath.Join(filepath.Dir(zeekwire(t)), "zeek-client")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("our zeek-client: %v", err)
	}
	return client{argv: []string{program, "--controller", at(port)}}
}

// stock returns Zeek's own client. It runs the client with the Python that its
// first line names, or else with /usr/bin/python3, which may have the required
// package. If neither works, it skips the test.
func (z *installation) stock(t *testing.T, port int) client {
	t.Helper()
	var complaint string
	for _, argv := range [][]string{{z.client}, {"/usr/bin/python3", z.client}} {
		_, stderr, code := run(t, nil, append(argv, "--version")...)
		if code == 0 {
			return client{argv: append(argv, "--controller", at(port))}
		}
		complaint = stderr
	}
	t.Skipf("zeek-client of Zeek %s does not run: %s", z.version, complaint)
	return client{}
}

// call runs a command of the client and decodes the JSON that it prints.
func (c client) call(t *testing.T, into any, args ...string) error {
	t.Helper()
	stdout, stderr, code := run(t, nil, append(c.argv, args...)...)
	if code != 0 {
		return fmt.Errorf("%s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		return fmt.Errorf("%s: %w in %s", strings.Join(args, " "), err, stdout)
	}
	return nil
}

// instances waits until the controller knows exactly these instances.
func (c client) instances(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, "get-instances", func() error {
		var got map[string]struct{ Host string }
		if err := c.call(t, &got, "get-instances"); err != nil {
			return err
		}
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, slices.Sorted(slices.Values(want))) {
			return fmt.Errorf("got %v, want %v", names, want)
		}
		return nil
	})
}

// deploy deploys a configuration. On a busy machine nodes may take longer to
// report than controllers and agents wait. That is not an error: running checks
// that they run in the end.
func (c client) deploy(t *testing.T, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.cfg")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := run(t, nil, append(c.argv, "deploy-config", file)...)
	var got struct {
		Errors  []string
		Results struct {
			ID    string
			Nodes map[string]struct{ Success bool }
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("deploy-config: exit code %d, %v in %s%s", code, err, stdout, stderr)
	}
	if code == 0 {
		return
	}
	for _, e := range got.Errors {
		if e != "request timed out" {
			t.Fatalf("deploy-config: %s", stdout)
		}
	}
	t.Logf("deploy-config: nodes are late: %s", stdout)
}

type nodeStatus struct {
	State       string
	ClusterRole *string `json:"cluster_role"`
	PID         int
	Port        int
}

// running waits until exactly these cluster nodes run on the instance.
func (c client) running(t *testing.T, instance string, want ...string) map[string]nodeStatus {
	t.Helper()
	var nodes map[string]nodeStatus
	eventually(t, "get-nodes", func() error {
		var got struct {
			Errors  []any
			Results map[string]map[string]nodeStatus
		}
		if err := c.call(t, &got, "get-nodes"); err != nil {
			return err
		}
		nodes = make(map[string]nodeStatus)
		for name, n := range got.Results[instance] {
			if n.ClusterRole != nil {
				nodes[name] = n
			}
		}
		if len(nodes) != len(want) {
			return fmt.Errorf("got %v, want %v", nodes, want)
		}
		for _, name := range want {
			if nodes[name].State != "RUNNING" || nodes[name].PID == 0 {
				return fmt.Errorf("node %s is %+v", name, nodes[name])
			}
		}
		return nil
	})
	return nodes
}
