package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

// agentOn starts an agent in a directory, and a controller elsewhere.
func agentOn(t *testing.T, dir string) (*place, *process, *operator) {
	t.Helper()
	p := newPlace(t)
	p.state["agent"] = dir
	p.start("controller")
	s := p.start("agent")
	o := p.operator()
	o.await("the agent", connected)
	return p, s, o
}

// verifyAgent compares the stored configuration of an agent with the acknowledged one.
func (c *changes) verifyAgent(dir string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "nodes", "agent", "agents", "agent.json"))
	if err != nil {
		c.t.Error(err)
	}
	if !strings.Contains(string(text), `"`+c.last()+`"`) {
		c.lost++
		c.t.Errorf("%s was acknowledged, stored is %s", c.last(), text)
	}
}

// alarms checks the behaviour of an agent that cannot store changes.
func (s *process) alarms(reason string) {
	t := s.place.t
	t.Helper()
	s.awaitReady(503, reason)
	if code, text := s.health("/healthz"); code != 200 {
		t.Errorf("healthz: %d %s", code, text)
	}
	if _, text := s.health("/metrics"); !strings.Contains(text, "zeekwire_agent_storage_failed 1") {
		t.Error("no metric")
	}
}

// endAgent verifies that an agent has recovered.
func (c *changes) endAgent(s *process, o *operator) {
	c.t.Helper()
	s.awaitReady(200, "ok")
	for deadline := time.Now().Add(time.Minute); ; {
		err := c.deploy(o)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
	c.recovered = "yes"
	s.kill()
	c.verifyAgent(s.place.state["agent"])
	s.place.start("agent").awaitReady(200, "ok")
	o.await("the agent", connected)
	c.must(o)
}

func TestAgentOnFullDisk(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "disk full", "agent"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	p, s, o := agentOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	free := d.Fill()
	c.untilRefused(o, noSpace)
	s.alarms(noSpace)
	s.kill()
	c.verifyAgent(p.state["agent"])
	s = p.start("agent")
	o.await("the agent", connected)
	free()
	c.endAgent(s, o)
}

func TestAgentWithoutInodes(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "inodes exhausted", "agent"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	p, s, o := agentOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	free := d.UseInodes()
	c.untilRefused(o, noSpace)
	s.alarms(noSpace)
	s.kill()
	c.verifyAgent(p.state["agent"])
	s = p.start("agent")
	o.await("the agent", connected)
	free()
	c.endAgent(s, o)
}

func TestAgentOnReadOnlyDisk(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "read-only", "agent"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	p, s, o := agentOn(t, filepath.Join(d.Dir, "state"))
	c.must(o)
	s.kill()
	d.SetReadOnly(true)
	s = p.start("agent")
	o.await("the agent", connected)
	c.untilRefused(o, "read-only file system")
	s.alarms("read-only file system")
	c.verifyAgent(p.state["agent"])
	d.SetReadOnly(false)
	c.endAgent(s, o)
}

func TestAgentWithoutDirectory(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "directory removed", "agent"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	dir := filepath.Join(d.Dir, "state")
	_, s, o := agentOn(t, dir)
	c.must(o)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	c.untilRefused(o, "was removed")
	s.alarms("was removed")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the agent makes the directory again")
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	c.endAgent(s, o)
}

func TestAgentInReplacedDirectory(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "directory replaced", "agent"), t: t}
	d := disktest.New(t, diskSize, diskInodes)
	dir := filepath.Join(d.Dir, "state")
	_, s, o := agentOn(t, dir)
	c.must(o)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	other := newPlace(t)
	other.state["agent"] = dir
	second := other.start("agent")
	second.awaitReady(503, "controller: ")
	c.untilRefused(o, "was replaced")
	s.alarms("was replaced")
	second.kill()
	if err := os.Rename(dir, dir+".second"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	c.endAgent(s, o)
}

// An agent without descriptors cannot store what it is told, and says so.
func TestAgentWithoutDescriptors(t *testing.T) {
	t.Parallel()
	c := &changes{row: report(t, "descriptors exhausted", "agent"), t: t}
	p := newPlace(t)
	p.start("controller")
	s := p.start("agent")
	o := p.operator()
	o.await("the agent", connected)
	c.must(o)
	release := starve(t, s)
	c.untilRefused(o, "too many open files")
	release()
	c.endAgent(s, o)
}
