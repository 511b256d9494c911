package clientcmd

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The status shows agents that are refused because another one has their name.
func TestStatusShowsRefusedAgents(t *testing.T) {
	s := zeekapi.Status{Instances: []zeekapi.InstanceStatus{{
		Instance: zeekapi.Instance{Name: "sensor"}, Connected: true, Refused: []string{"10.0.0.8:40000", "10.0.0.9:40000"},
	}}}
	var text strings.Builder
	for _, line := range statusLines(terminal.Screen{}, s, true, time.Now()) {
		for _, span := range line {
			text.WriteString(span.Text)
		}
		text.WriteString("\n")
	}
	want := "sensor: refused other agents with this name, because the first one answers: 10.0.0.8:40000, 10.0.0.9:40000\n"
	if !strings.Contains(text.String(), want) {
		t.Errorf("status:\n%s", text.String())
	}
	if got := newStatusView(s).Instances["sensor"].Refused; len(got) != 2 {
		t.Errorf("JSON has %q", got)
	}
}

// TestAgesWithOtherClock shows a cluster whose clock is hours ahead, or was set back
// during a deployment. No age is negative.
func TestAgesWithOtherClock(t *testing.T) {
	now := time.Unix(1790000000, 0)
	ahead := now.Add(3 * time.Hour)
	job := zeekapi.Job{Number: 1, Started: ahead, Now: []string{"w"}}
	d := zeekapi.Deployment{Number: 1, Started: ahead, Ended: now, Outcome: zeekapi.OutcomeDeployed}
	pending := zeekapi.Deployment{Number: 2, Started: ahead, Outcome: zeekapi.OutcomePending}
	s := zeekapi.Status{
		Controller: zeekapi.Process{Name: "c", Started: ahead}, Last: &pending, Job: &job,
		Instances: []zeekapi.InstanceStatus{{
			Instance: zeekapi.Instance{Name: "i"}, Connected: true, Since: ahead, Wanted: true, Agent: zeekapi.Process{Name: "a", Started: ahead},
			Nodes: []zeekapi.NodeDetail{{Status: zeekapi.NodeStatus{Node: "w", State: zeekapi.StateRunning}, Since: ahead}},
		}},
	}
	r := new(run)
	lines := append(statusLines(r.screen, s, true, now), r.historyTable([]zeekapi.Deployment{pending, d})...)
	lines = append(lines, jobProgress(job, now.Sub(ahead))...)
	lines = append(lines, deploymentSpans(d, now))
	for _, line := range lines {
		var text string
		for _, span := range line {
			text += span.Text
		}
		if regexp.MustCompile(`(^|\W)-\d`).MatchString(text) {
			t.Errorf("negative: %q", text)
		}
	}
}

// The status says at which addresses anybody on other machines may command the
// controller.
func TestStatusShowsOpenPorts(t *testing.T) {
	port := func(address, who string, commands bool) zeekapi.ExposedPort {
		return zeekapi.ExposedPort{Address: address, Peers: []zeekapi.ExposedPeers{{Who: who, Commands: commands}}}
	}
	s := zeekapi.Status{Exposure: &zeekapi.Exposure{Ports: []zeekapi.ExposedPort{
		port("0.0.0.0:1", zeekapi.Anybody, true), port("[::1]:2", zeekapi.Anybody, true), port("0.0.0.0:3", "alice", true),
		port("0.0.0.0:4", zeekapi.Anybody, false), port("10.0.0.1:5", zeekapi.Anybody, true),
	}}}
	line := func() string {
		for _, line := range summaryLines(s, true, time.Now()) {
			if strings.HasPrefix(line[0].Text, "Open") {
				return line[1].Text
			}
		}
		return ""
	}
	if got := line(); got != "anybody who reaches 0.0.0.0:1 or 10.0.0.1:5 may command it" {
		t.Errorf("%q", got)
	}
	if v := newStatusView(s).Exposure; v == nil || len(v.Ports) != 5 || !v.Ports[0].Peers[0].Commands {
		t.Errorf("the JSON has %+v", v)
	}
	s.Exposure = nil // an older controller
	if got := line(); got != "" || newStatusView(s).Exposure != nil {
		t.Errorf("without exposure: %q", got)
	}
}

// The status shows the packets of all nodes together, and the fullest disk of each machine.
func TestStatusShowsTotals(t *testing.T) {
	disk := func(used, free uint64, failed string) zeekapi.DirectorySpace {
		return zeekapi.DirectorySpace{Purpose: "state", Path: "/s", Size: used + free, Used: used, Free: free, Error: failed}
	}
	s := zeekapi.Status{Instances: []zeekapi.InstanceStatus{
		{Instance: zeekapi.Instance{Name: "a"}, Nodes: []zeekapi.NodeDetail{worker("a", zeekapi.TrafficRates{Received: 300, Dropped: 1})}},
		{Instance: zeekapi.Instance{Name: "b"}, Nodes: []zeekapi.NodeDetail{worker("b", zeekapi.TrafficRates{Received: 99, Dropped: 0})}},
	}}
	addDisks(s, disks{"a": {disk(10, 90, ""), disk(91, 9, ""), disk(99, 1, "cannot be measured")}, "elsewhere": {disk(99, 1, "")}})
	text := plain(statusLines(terminal.Screen{}, s, true, time.Now())...)
	for _, want := range []string{"Traffic     399 packets/s, 0.0 Mbit/s, loss 0.25%\n", "  DISK\n", "  91%\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the status has no %q:\n%s", want, text)
		}
	}
	v := newStatusView(s)
	if v.Traffic == nil || v.Traffic.Received != 20 || len(v.Instances["a"].Disks) != 3 || v.Instances["b"].Disks == nil {
		t.Errorf("JSON: %+v", v)
	}
	if text := plain(statusLines(terminal.Screen{}, zeekapi.Status{}, true, time.Now())...); strings.Contains(text, "Traffic") {
		t.Errorf("an empty status has traffic:\n%s", text)
	}
}
