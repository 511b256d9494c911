package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// patience limits the time of each wait. It only makes failing tests end.
const patience = time.Minute

// cluster is a controller and its agents, each a process, on this machine. Their
// nodes are simulated.
type cluster struct {
	t               *testing.T
	dir             string // of cluster files and state
	agents, clients string // addresses of the controller
	client          program
	store           []string // flags of the controller, if its state is not in a file
	running         map[string]*process
}

// process is a running service.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// newCluster returns a cluster without processes, whose commands are those of a
// program.
func newCluster(t *testing.T, client program) *cluster {
	t.Helper()
	c := &cluster{
		t: t, dir: t.TempDir(), client: client,
		agents: peertest.FreeAddress(t), clients: peertest.FreeAddress(t),
		running: make(map[string]*process),
	}
	t.Cleanup(func() {
		for name := range c.running {
			c.stop(name)
		}
	})
	if err := os.CopyFS(c.dir, os.DirFS(filepath.Join(data, "clusters"))); err != nil {
		t.Fatal(err)
	}
	return c
}

// state returns the state directory of the named service.
func (c *cluster) state(name string) string { return filepath.Join(c.dir, "state", name) }

// log returns the file with the log of the named service.
func (c *cluster) log(name string) string { return filepath.Join(c.dir, name+".log") }

// controller starts the controller.
func (c *cluster) controller(p program) {
	c.t.Helper()
	c.start(p, controllerName, "controller", append([]string{"--listen", c.agents, "--websocket-listen", c.clients, "--tls", "off"}, c.store...)...)
	c.await("get-instances")
}

const controllerName = "controller"

// agent starts an agent, and waits until it is connected.
func (c *cluster) agent(p program, name string) {
	c.t.Helper()
	c.start(p, name, "agent", "--controller", c.agents, "--listen", peertest.FreeAddress(c.t), "--launcher", "simulated", "--tls", "off")
	c.awaitText(`"`+name+`"`, "get-instances")
}

func (c *cluster) start(p program, name, kind string, args ...string) {
	c.t.Helper()
	proc := &process{done: make(chan struct{})}
	args = append([]string{kind, "--name", name, "--state-dir", c.state(name)}, args...)
	proc.cmd = exec.Command(string(p), args...)
	proc.cmd.Dir = c.dir
	proc.cmd.Env = append(os.Environ(), "ZEEKWIRE_AGENT_DISK_WARN=0") // the disk of the tests may be fuller
	log, err := os.OpenFile(c.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	proc.cmd.Stderr = log
	err = proc.cmd.Start()
	log.Close()
	if err != nil {
		c.t.Fatal(err)
	}
	go func() {
		proc.cmd.Wait()
		close(proc.done)
	}()
	c.running[name] = proc
}

// stop ends a service, and waits until it has ended.
func (c *cluster) stop(name string) {
	c.t.Helper()
	p := c.running[name]
	delete(c.running, name)
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.done
		c.t.Errorf("%s had to be killed", name)
	}
	if c.t.Failed() {
		text, err := os.ReadFile(c.log(name))
		c.t.Logf("log of %s: %v\n%s", name, err, text)
	}
}

// try runs a client command, and returns its standard output.
func (c *cluster) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, string(c.client), append(args, "--controller", c.clients)...)
	cmd.Dir = c.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), err
}

// do runs a client command, which must succeed, and returns its standard output.
func (c *cluster) do(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// await runs a client command until it succeeds.
func (c *cluster) await(args ...string) { c.t.Helper(); c.awaitText("", args...) }

// awaitText runs a client command until its output matches a pattern.
func (c *cluster) awaitText(pattern string, args ...string) string {
	c.t.Helper()
	wanted := regexp.MustCompile(pattern)
	deadline := time.Now().Add(patience)
	for {
		out, err := c.try(args...)
		if err == nil && wanted.MatchString(out) {
			return out
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: want %q in the output\n%s\n%v", strings.Join(args, " "), pattern, out, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// decode returns the value of a JSON text, or of several, one after the other.
func decode(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var all []any
	for decoder.More() {
		var v any
		if err := decoder.Decode(&v); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, v)
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}
