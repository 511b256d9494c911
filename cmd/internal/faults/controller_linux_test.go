package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/disktest"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// changes deploys numbered configurations, and knows which were acknowledged.
type changes struct {
	*row
	t            *testing.T
	count        int
	acknowledged []string // IDs
}

// deploy deploys the next configuration and returns the error.
func (c *changes) deploy(o *operator) error {
	c.count++
	id := fmt.Sprintf("c%03d", c.count)
	if err := o.deploy(id); err != nil {
		return err
	}
	c.acknowledged = append(c.acknowledged, id)
	c.row.acknowledged++
	return nil
}

// must deploys a configuration that must be accepted.
func (c *changes) must(o *operator) {
	c.t.Helper()
	if err := c.deploy(o); err != nil {
		c.t.Fatalf("c%03d: %v", c.count, err)
	}
}

// last returns the ID of the last acknowledged configuration.
func (c *changes) last() string { return c.acknowledged[len(c.acknowledged)-1] }

// untilRefused deploys configurations until some are refused with the reason. Before
// that, the controller may accept what it can store.
func (c *changes) untilRefused(o *operator, reason string) {
	c.t.Helper()
	refused := 0
	for range 200 {
		switch err := c.deploy(o); {
		case err == nil:
			time.Sleep(50 * time.Millisecond)
			continue
		case !strings.Contains(err.Error(), reason):
			c.t.Errorf("c%03d is refused with %q, want %q", c.count, err, reason)
		}
		c.refused++
		if refused++; refused == 3 {
			return
		}
	}
	c.t.Errorf("no change was refused because of: %s", reason)
}

// verify compares what a controller has with what was acknowledged.
func (c *changes) verify(o *operator) {
	c.t.Helper()
	history, err := o.History(o.ctx, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	stored := make(map[string]bool)
	for _, d := range history {
		if d.Outcome == zeekapi.OutcomeDeployed {
			stored[d.Config] = true
		}
	}
	for _, id := range c.acknowledged {
		if !stored[id] {
			c.lost++
			c.t.Errorf("%s was acknowledged, and is not in the history", id)
		}
	}
	for _, deployed := range []bool{false, true} {
		config, err := o.GetConfiguration(o.ctx, deployed)
		if err != nil || config.ID != c.last() {
			c.t.Errorf("deployed %t: %s, %v, want %s", deployed, config.ID, err, c.last())
		}
	}
	if unknown := slices.DeleteFunc(history, func(d zeekapi.Deployment) bool {
		return slices.Contains(c.acknowledged, d.Config)
	}); len(unknown) > 0 {
		c.t.Errorf("deployments that were not acknowledged: %+v", unknown)
	}
}

// serves checks the behaviour of a controller that cannot store changes.
func serves(s *process, o *operator, reason string) {
	t := s.place.t
	t.Helper()
	o.await("the alarm", func(s zeekapi.Status) bool { return strings.Contains(s.Storage, reason) })
	o.await("the agent", connected)
	if code, text := s.health("/healthz"); code != 200 {
		t.Errorf("healthz: %d %s", code, text)
	}
	s.awaitReady(503, "storage: ")
	if _, text := s.health("/metrics"); !strings.Contains(text, "zeekwire_controller_storage_failed 1") {
		t.Error("no metric")
	}
	if nodes, err := o.GetNodes(o.ctx); err != nil || len(nodes) != 1 || len(nodes[0].Nodes) == 0 {
		t.Errorf("nodes: %+v, %v", nodes, err)
	}
}

// controllerOn starts a controller in a directory, and an agent elsewhere.
func controllerOn(t *testing.T, dir string) (*place, *process, *operator) {
	t.Helper()
	p := newPlace(t)
	p.state["controller"] = dir
	s := p.start("controller")
	p.start("agent")
	o := p.operator()
	o.await("the agent", connected)
	return p, s, o
}

// again kills the controller and starts it again.
func again(s *process) (*process, *operator) {
	s.kill()
	next := s.place.start("controller")
	return next, s.place.operator()
}

const noSpace = "no space left on device"

// end verifies that a controller has recovered.
func (c *changes) end(s *process, o *operator) {
	c.t.Helper()
	o.await("the recovery", storing)
	o.await("the agent", connected)
	s.awaitReady(200, "ok")
	c.must(o)
	c.recovered = "yes"
	_, o = again(s)
	o.await("the agent", connected)
	c.verify(o)
}

// loggedOnce checks that the log has one line about the fault.
func loggedOnce(s *process) {
	s.place.t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		s.place.t.Fatal(err)
	}
	if n := strings.Count(string(text), "cannot store changes: they are refused"); n != 1 {
		s.place.t.Errorf("%d lines about the fault", n)
	}
}

func TestControllerOnFullDisk(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "disk full", "controller"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	_, s, o := controllerOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	c.must(o)
	free := d.Fill()
	c.untilRefused(o, noSpace)
	serves(s, o, noSpace)
	loggedOnce(s)
	s, o = again(s)
	serves(s, o, noSpace)
	c.untilRefused(o, noSpace)
	free()
	c.end(s, o)
}

// A controller stores changes without a new inode. A site requires one.
func TestControllerWithoutInodes(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "inodes exhausted", "controller"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	_, s, o := controllerOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	free := d.UseInodes()
	c.must(o)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "local.zeek"), []byte("# a script\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, err := site.Pack(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	upload := func() error { return o.UploadSite(o.ctx, packed, client.Transfer{}) }
	if err := upload(); err == nil || !strings.Contains(err.Error(), noSpace) {
		t.Errorf("site: %v, want %s", err, noSpace)
	}
	c.refused++
	s, o = again(s)
	o.await("the agent", connected)
	c.must(o)
	free()
	if err := upload(); err != nil {
		t.Error(err)
	}
	c.end(s, o)
}

func TestControllerOnReadOnlyDisk(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "read-only", "controller"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	p, s, o := controllerOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	s.kill()
	d.SetReadOnly(true)
	s, o = p.start("controller"), p.operator()
	serves(s, o, "read-only file system")
	c.untilRefused(o, "read-only file system")
	second := p.start("controller", "--listen", "none", "--websocket-listen", "none", "--metrics-listen", "none")
	if err := second.cmd.Wait(); err == nil {
		t.Error("a second controller starts")
	}
	loggedOnce(s)
	d.SetReadOnly(false)
	c.end(s, o)
}

// A state directory that is removed is written again where an operator makes a
// directory.
func TestControllerWithoutDirectory(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "directory removed", "controller"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	dir := filepath.Join(d.Dir, "state")
	_, s, o := controllerOn(t, dir)
	c.must(o)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.untilRefused(o, "the file was removed")
	serves(s, o, "the file was removed")
	loggedOnce(s)
	if err := os.MkdirAll(filepath.Join(dir, "nodes", "controller"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.end(s, o)
}

// A second controller can start in a state directory that was put in the place of the
// first one's. The first one then accepts no change.
func TestControllerInReplacedDirectory(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "directory replaced", "controller"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	dir := filepath.Join(d.Dir, "state")
	_, s, o := controllerOn(t, dir)
	c.must(o)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	other := newPlace(t)
	other.state["controller"] = dir
	second := other.start("controller")
	second.awaitReady(200, "ok")
	c.untilRefused(o, "another file was put in its place")
	serves(s, o, "another file was put in its place")
	second.kill()
	if err := os.Rename(dir, dir+".second"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	loggedOnce(s)
	c.end(s, o)
}

// A controller whose descriptors are used up by connections serves those that it has.
func TestControllerWithoutDescriptors(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "descriptors exhausted", "controller"), t: t}
	p := newPlace(t)
	p.descriptors = 40
	s := p.start("controller")
	p.descriptors = 0
	p.start("agent")
	o := p.operator()
	o.await("the agent", connected)
	c.must(o)
	release := occupy(t, p.ctx, p.native, p.clients)
	c.must(o)
	c.must(o)
	if open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)); err == nil {
		c.remark = fmt.Sprintf("%d descriptors in use, the limit is 40", len(open))
	}
	release()
	p.operator()
	release = starve(t, s)
	c.must(o)
	release()
	p.operator()
	c.end(s, o)
}

// starve leaves a process no descriptor that it does not have already. The returned
// function gives it the limit that it had. Connections alone do not use up all
// descriptors: listeners limit them.
func starve(t *testing.T, p *process) (release func()) {
	t.Helper()
	var before unix.Rlimit
	limit := func(new, old *unix.Rlimit) {
		t.Helper()
		if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, new, old); err != nil {
			t.Fatal(err)
		}
	}
	limit(nil, &before)
	limit(&unix.Rlimit{Cur: 0, Max: before.Max}, nil)
	return func() { limit(&before, nil) }
}

// occupy opens connections, more than a process has descriptors. The returned function
// closes them.
func occupy(t *testing.T, ctx context.Context, addresses ...string) (release func()) {
	t.Helper()
	var all []net.Conn
	for i := range 100 {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addresses[i%len(addresses)])
		if err != nil {
			break
		}
		all = append(all, conn)
	}
	return func() {
		for _, conn := range all {
			conn.Close()
		}
	}
}
