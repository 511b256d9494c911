package load

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var zeekPrefix = flag.String("load.zeek", "", "prefix of an installed Zeek from 5.2 on, whose controller is compared with ours")

// besideRounds is the number of times that both controllers are measured in turn.
const besideRounds = 3

// A pace is a measurement of one controller beside the other one.
type pace struct{ deploy, getNodes time.Duration }

// faster returns the smaller values of both.
func (p pace) faster(q pace) pace {
	if p == (pace{}) {
		return q
	}
	return pace{min(p.deploy, q.deploy), min(p.getNodes, q.getNodes)}
}

// TestBesideZeek measures Zeek's controller and ours in turn, with the same agents, which are
// ours, and the same client. The table has the best of the rounds.
func TestBesideZeek(t *testing.T) {
	if *zeekPrefix == "" {
		t.Skip("needs an installed Zeek, see -load.zeek")
	}
	binary := testbinary.Path(t)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "agents\tdeploy, Zeek\tours\tget-nodes, Zeek\tours\t")
	for number := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		var zeeks, ours pace
		for range besideRounds {
			t.Run(number+"/Zeek", func(t *testing.T) { zeeks = zeeks.faster(measureBeside(t, startZeek(t), n)) })
			t.Run(number+"/ours", func(t *testing.T) { ours = ours.faster(measureBeside(t, startController(t, binary), n)) })
		}
		if t.Failed() {
			return
		}
		fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%v\t\n", n, round(zeeks.deploy), round(ours.deploy), round(zeeks.getNodes), round(ours.getNodes))
	}
	w.Flush()
	t.Logf("agents with a simulated node each, TLS %s\n%s", *tlsMode, b.String())
}

// startZeek starts Zeek's controller.
func startZeek(t *testing.T) *process {
	t.Helper()
	port := func() string { return strconv.Itoa(peertest.FreePort(t)) }
	native, web, unused, state := port(), port(), port(), t.TempDir()
	p := &process{native: "127.0.0.1:" + native, websocket: "127.0.0.1:" + web}
	p.env = []string{
		"ZEEK_CONTROLLER_NAME=controller", "ZEEK_CONTROLLER_ADDR=127.0.0.1", "ZEEK_CONTROLLER_PORT=" + native + "/tcp",
		"ZEEK_CONTROLLER_WEBSOCKET_ADDR=127.0.0.1", "ZEEK_CONTROLLER_WEBSOCKET_PORT=" + web + "/tcp",
		"ZEEK_MANAGEMENT_STATE_DIR=" + state, "ZEEK_MANAGEMENT_SPOOL_DIR=" + state,
	}
	p.command = []string{filepath.Join(*zeekPrefix, "bin", "zeek"), "-j", "policy/frameworks/management/controller", "Broker::default_port=" + unused + "/tcp"}
	if *tlsMode == "off" {
		p.command = append(p.command, "Broker::disable_ssl=T")
	}
	p.startFirst(t)
	return p
}

// measureBeside measures a controller with n agents.
func measureBeside(t *testing.T, c *process, n int) pace {
	ctx, cancel := context.WithTimeout(t.Context(), patienceFor(n))
	defer cancel()
	conn := c.connect(ctx, t, "")
	defer conn.Close()
	c.join(ctx, t, conn, n)
	stage(ctx, t, conn, n, -1)
	deploy(ctx, t, conn, n)
	var p pace
	const calls = 15
	p.deploy = median(calls, func(round int) { stage(ctx, t, conn, n, round) }, func() { deploy(ctx, t, conn, n) })
	p.getNodes = median(calls, func(int) {}, func() {
		if nodes, err := conn.GetNodes(ctx); err != nil || len(nodes) != n {
			t.Fatalf("%d instances and %v, want %d", len(nodes), err, n)
		}
	})
	t.Logf("deploy %v, get-nodes %v", round(p.deploy), round(p.getNodes))
	return p
}
