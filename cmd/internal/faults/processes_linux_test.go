package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/management"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// patience limits the duration of a test. It only makes failing tests end.
const patience = 3 * time.Minute

// place has the addresses of a controller and an agent, with their directories.
type place struct {
	t      *testing.T
	ctx    context.Context
	binary string

	native, clients, agentPort string
	http                       map[string]string // addresses by kind of service
	state                      map[string]string // directories

	descriptors int // limit of the processes, 0 for none
}

func newPlace(t *testing.T) *place {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &place{
		t: t, ctx: ctx, binary: testbinary.Path(t),
		native: peertest.FreeAddress(t), clients: peertest.FreeAddress(t), agentPort: peertest.FreeAddress(t),
		http:  map[string]string{"controller": peertest.FreeAddress(t), "agent": peertest.FreeAddress(t)},
		state: map[string]string{"controller": t.TempDir(), "agent": t.TempDir()},
	}
}

// process is a controller or an agent.
type process struct {
	place *place
	kind  string
	cmd   *exec.Cmd
	log   string
}

// start starts a controller or an agent.
func (p *place) start(kind string, more ...string) *process {
	p.t.Helper()
	args := []string{kind, "--name", kind, "--state-dir", p.state[kind], "--tls", "off", "--metrics-listen", p.http[kind]}
	if kind == "controller" {
		args = append(args, "--listen", p.native, "--websocket-listen", p.clients)
	} else {
		args = append(args, "--launcher", "simulated", "--controller", p.native, "--listen", p.agentPort, "--connect-retry", "50ms")
	}
	s := &process{place: p, kind: kind, log: filepath.Join(p.t.TempDir(), "log")}
	log, err := os.Create(s.log)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(p.binary, append(args, more...)...)
	if p.descriptors > 0 {
		s.cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, p.descriptors), p.binary}, s.cmd.Args[1:]...)...)
	}
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		s.kill()
		if text, _ := os.ReadFile(s.log); p.t.Failed() {
			p.t.Logf("log of the %s:\n%.20000s", kind, text)
		}
	})
	return s
}

// kill kills the process at once.
func (s *process) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// ended reports whether the process ended by itself.
func (s *process) ended() bool {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(s.cmd.Process.Pid, &status, syscall.WNOHANG, nil)
	return err != nil || pid != 0
}

// health returns the response to a request for health.
func (s *process) health(path string) (code int, text string) {
	s.place.t.Helper()
	var last error
	for s.place.ctx.Err() == nil && !s.ended() {
		response, err := http.Get("http://" + s.place.http[s.kind] + path)
		if err != nil {
			last = err
			time.Sleep(20 * time.Millisecond)
			continue
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		return response.StatusCode, string(body)
	}
	s.place.t.Fatalf("%s of the %s: %v", path, s.kind, last)
	return 0, ""
}

// awaitReady waits until readyz has the given code and a text with want.
func (s *process) awaitReady(code int, want string) {
	s.place.t.Helper()
	for {
		c, text := s.health("/readyz")
		if c == code && strings.Contains(text, want) {
			return
		}
		if s.place.ctx.Err() != nil {
			s.place.t.Fatalf("the %s is not ready as expected: %d %s", s.kind, c, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// operator is a client of the controller.
type operator struct {
	*client.Client
	t   *testing.T
	ctx context.Context
}

// operator connects a client.
func (p *place) operator() *operator {
	p.t.Helper()
	for {
		bus, err := websocket.Dial(p.ctx, websocket.ClientConfig{
			Address: p.clients, Subscriptions: []string{management.DefaultTopics.Controller, operations.DefaultTopics.Controller},
		})
		if err == nil {
			c := client.New(bus, management.Dialect(management.DefaultTopics), operations.Dialect(operations.DefaultTopics))
			p.t.Cleanup(func() { c.Close() })
			return &operator{c, p.t, p.ctx}
		}
		if p.ctx.Err() != nil {
			p.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// deploy stages and deploys a configuration.
func (o *operator) deploy(id string) error {
	config := zeekapi.Configuration{
		ID:        id,
		Instances: []zeekapi.Instance{{Name: "agent"}},
		Nodes:     []zeekapi.Node{{Name: "node", Instance: "agent", Role: zeekapi.RoleManager, State: zeekapi.StateRunning, Env: map[string]string{"ID": id}}},
	}
	if _, err := o.Stage(o.ctx, config); err != nil {
		return err
	}
	d, err := o.Deploy(o.ctx)
	if err == nil && len(d.Errors) > 0 {
		err = errors.New(d.Errors[0])
	}
	if err == nil {
		for _, n := range d.Nodes {
			if !n.Success {
				err = fmt.Errorf("%s: %s", n.Node, n.Error)
			}
		}
	}
	return err
}

// status returns the status.
func (o *operator) status() zeekapi.Status {
	o.t.Helper()
	s, err := o.Status(o.ctx)
	if err != nil {
		o.t.Fatalf("status: %v", err)
	}
	return s
}

// await waits until the status is as wanted.
func (o *operator) await(what string, wanted func(zeekapi.Status) bool) {
	o.t.Helper()
	for {
		s := o.status()
		if wanted(s) {
			return
		}
		if o.ctx.Err() != nil {
			o.t.Fatalf("waiting for %s: %+v", what, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// connected reports whether the agent is ready.
func connected(s zeekapi.Status) bool { return len(s.Instances) == 1 && s.Instances[0].Connected }

// storing reports whether changes can be stored.
func storing(s zeekapi.Status) bool { return s.Storage == "" }
