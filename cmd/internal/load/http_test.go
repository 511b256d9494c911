package load

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

var (
	httpAgents  = flag.Int("load.http.agents", 20, "number of agents in the test of the HTTP API")
	httpStreams = flag.Int("load.http.streams", 20, "number of streams of events")
	httpRate    = flag.Int("load.http.rate", 50, "requests for the status per second")
)

// slowdown limits the factor by which load of the HTTP API prolongs deployments.
const slowdown = 1.1

// TestHTTP measures how much longer deployments take while clients of the HTTP API read
// streams of events and ask for the status. The ratio is only checked with -load.times.
func TestHTTP(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two processes with many agents")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address := peertest.FreeAddress(t)
	c := startController(t, testbinary.Path(t), "--http-listen", address)
	conn := c.connect(ctx, t, "")
	defer conn.Close()
	n := *httpAgents
	c.join(ctx, t, conn, n)
	round := 0
	next := func() time.Duration { // deploys the next configuration
		round++
		stage(ctx, t, conn, n, round)
		return timed(func() { deploy(ctx, t, conn, n) })
	}
	next() // the first one starts what the others restart
	var idle, loaded []time.Duration
	readers := startReaders(t, "http://"+address+"/api/v1")
	for range 7 { // in turn, so that other load on the machine counts for both
		idle = append(idle, next())
		readers.tell("start")
		loaded = append(loaded, next())
		readers.tell("stop")
	}
	slices.Sort(idle)
	slices.Sort(loaded)
	before, after := idle[len(idle)/2], loaded[len(loaded)/2]
	ratio := after.Seconds() / before.Seconds()
	t.Logf("%d agents: a deployment takes %v, and %v (%.2f times as long) with %d streams and %d requests/s; %d bytes of events and %d responses were read",
		n, before, after, ratio, *httpStreams, *httpRate, readers.events, readers.responses)
	if *times && ratio > slowdown {
		t.Errorf("deployments take %.2f times as long, want at most %.2f", ratio, slowdown)
	}
	if readers.events == 0 || readers.responses == 0 {
		t.Error("there was no load")
	}
}

// readersVariable is the environment variable that makes the test program read: the streams,
// the requests per second, and the URL.
const readersVariable = "ZEEKWIRE_TEST_READERS"

// readersProcess is the process of the clients of the HTTP API.
type readersProcess struct {
	t                 *testing.T
	in                io.Writer
	out               *bufio.Scanner
	events, responses int64 // bytes, and number
}

// startReaders starts the process. It ends with the test.
func startReaders(t *testing.T, url string) *readersProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", readersVariable, *httpStreams, *httpRate, url))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the readers: %v", err)
		}
	})
	return &readersProcess{t: t, in: in, out: bufio.NewScanner(out)}
}

// tell makes the readers start or stop, and waits until they have.
func (r *readersProcess) tell(what string) {
	r.t.Helper()
	if _, err := fmt.Fprintln(r.in, what); err != nil {
		r.t.Fatal(err)
	}
	if !r.out.Scan() {
		r.t.Fatalf("the readers have ended: %v", r.out.Err())
	}
	if _, err := fmt.Sscan(r.out.Text(), &r.events, &r.responses); err != nil {
		r.t.Fatalf("%q: %v", r.out.Text(), err)
	}
}

// runReaders is the process of the readers. It reads start and stop from the standard input,
// and answers with the numbers so far.
func runReaders(what string) error {
	r := &readers{failed: make(chan error, 1)}
	if _, err := fmt.Sscan(what, &r.streams, &r.rate, &r.url); err != nil {
		return err
	}
	var dialed atomic.Uint32
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		// Each anonymous client has limits, and is identified by its address.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+dialed.Add(1)%addresses))}}
		return d.DialContext(ctx, network, address)
	}}
	r.client = &http.Client{Transport: transport}
	stop := func() {}
	defer func() { stop() }()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		stop()
		if stop = func() {}; in.Text() == "start" {
			stop = r.start(context.Background())
		}
		select {
		case err := <-r.failed:
			return err
		default:
		}
		fmt.Println(r.events.Load(), r.responses.Load())
	}
	return nil
}

// readers are the clients of the HTTP API.
type readers struct {
	streams, rate     int
	url               string
	client            *http.Client
	failed            chan error   // the first error
	events, responses atomic.Int64 // bytes, and number
}

// addresses is the number of addresses of the clients.
const addresses = 50

// start starts the streams, waits until they are open and a request has its response, and
// then sends requests at the rate. Stop ends all of them.
func (r *readers) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all, open sync.WaitGroup
	for range r.streams {
		open.Add(1)
		all.Go(func() { r.stream(ctx, sync.OnceFunc(open.Done)) })
	}
	open.Wait()
	r.status(ctx)
	all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(r.rate))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				all.Go(func() { r.status(ctx) })
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}

// get sends a request. It returns nil if ctx has ended, or after another error.
func (r *readers) get(ctx context.Context, path, accept string) *http.Response {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
	if err != nil {
		r.fail(err)
		return nil
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", "gzip") // without decompression: this measures the server
	resp, err := r.client.Do(req)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		r.fail(err)
		return nil
	case resp.StatusCode != http.StatusOK:
		r.fail(fmt.Errorf("%s: %s", path, resp.Status))
	}
	return resp
}

// fail notes an error, if it is the first one.
func (r *readers) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

func (r *readers) stream(ctx context.Context, opened func()) {
	defer opened()
	resp := r.get(ctx, "/events", "text/event-stream")
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	opened()
	piece := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(piece)
		r.events.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func (r *readers) status(ctx context.Context) {
	resp := r.get(ctx, "/status", "application/json")
	if resp == nil {
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		r.responses.Add(1)
	}
}
