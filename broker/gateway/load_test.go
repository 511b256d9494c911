package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/gateway"
)

// The load test runs only with readers. It measures a gateway in a process of its own.
var (
	loadReaders  = flag.Int("readers", 0, "`number` of readers of the load test, which does not run without any")
	loadRate     = flag.Int("rate", 2000, "messages per second")
	loadDuration = flag.Duration("duration", 10*time.Second, "time to measure")
	loadKind     = flag.String("kind", "sse", "kind of readers: sse or websocket")
	loadAt       = flag.String("at", "", "measure the WebSocket server at this `address`, which publishes events itself, in place of a gateway")
	loadPID      = flag.Int("pid", 0, "`process` of the server of -at, whose memory is measured")
	loadSelected = flag.Int("one-in", 1, "readers select one of so many events by name")
)

// loadVariable is set in the process with the gateway, to the rate.
const loadVariable = "ZEEKWIRE_GATEWAY_LOAD"

// clock is a bus that publishes events with the time, at a rate.
type clock struct {
	*zeek
	rate  int
	start time.Time
	sent  int
}

func (c *clock) Next(ctx context.Context) (broker.Notification, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	due := c.start.Add(time.Duration(c.sent) * time.Second / time.Duration(c.rate))
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return broker.Received{Message: c.message()}, nil
}

// message returns the next message.
func (c *clock) message() broker.Message {
	c.sent++
	name := "load" + strconv.Itoa(c.sent%*loadSelected)
	ev := broker.NewEvent(name, broker.Count(uint64(time.Now().UnixNano())), broker.String("CHhAvVGS1DHFjwGM9"),
		broker.String("192.0.2.1"), broker.PortValue(broker.TCP(443)), broker.String(strings.Repeat("x", 100)))
	return broker.Message{Topic: "/load", Value: ev.Value()}
}

// serveLoad is the process with the gateway.
func serveLoad(rate string) error {
	n, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{MaxReaders: 100_000})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	full := &clock{zeek: newZeek(), rate: n}
	for range gateway.DefaultMessages { // so that the ring does not grow while there are readers
		g.Relay(context.Background(), "", full.message(), false)
	}
	debug.SetGCPercent(gateway.GCPercent) // as in the command
	debug.FreeOSMemory()
	go func() { _ = g.Serve(context.Background(), l, nil) }()
	fmt.Println(l.Addr())
	in := bufio.NewScanner(os.Stdin)
	in.Scan() // all readers are connected
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		in.Scan()
		cancel()
	}()
	err = g.Attach(ctx, "", &clock{zeek: newZeek(), rate: n, start: time.Now()})
	if !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Printf("%+v\n", g.Stats())
	return g.Close()
}

// TestMain runs the process of the load test.
func TestMain(m *testing.M) {
	flag.Parse()
	if rate := os.Getenv(loadVariable); rate != "" {
		if err := serveLoad(rate); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// loadReader reads messages, and keeps the age of some.
type loadReader struct {
	received atomic.Int64
	ages     []time.Duration
	conn     net.Conn
}

// take counts the messages in text, and takes the age of the last one.
func (r *loadReader) take(text []byte, measuring bool) {
	const before = `"args":[`
	n := bytes.Count(text, []byte(`"load`))
	r.received.Add(int64(n))
	i := bytes.LastIndex(text, []byte(before))
	if i < 0 || !measuring {
		return
	}
	digits := text[i+len(before):]
	if end := bytes.IndexByte(digits, ','); end > 0 {
		if ns, err := strconv.ParseInt(string(digits[:end]), 10, 64); err == nil {
			r.ages = append(r.ages, time.Since(time.Unix(0, ns)))
		}
	}
}

// takeMessage is take for the JSON of WebSockets.
func (r *loadReader) takeMessage(text []byte, measuring bool) {
	r.received.Add(1)
	const before = `"@data-type":"count","data":1`
	if i := bytes.LastIndex(text, []byte(before)); i >= 0 && measuring {
		digits := text[i+len(before)-1:]
		if end := bytes.IndexByte(digits, '}'); end > 0 {
			if ns, err := strconv.ParseInt(string(digits[:end]), 10, 64); err == nil {
				r.ages = append(r.ages, time.Since(time.Unix(0, ns)))
			}
		}
	}
}

func (r *loadReader) connect(at string) (read func(measuring *atomic.Bool), err error) {
	query := ""
	if *loadSelected > 1 {
		query = "?event=load1"
	}
	if *loadKind == "websocket" {
		c, _, err := (&websocket.Dialer{ReadBufferSize: 4096}).Dial("ws://"+at+"/v1/messages/json"+query, nil)
		if err == nil {
			r.conn = c.NetConn()
			err = c.WriteMessage(websocket.TextMessage, []byte(`["/load"]`))
		}
		return func(measuring *atomic.Bool) {
			for {
				_, text, err := c.ReadMessage()
				if err != nil {
					return
				}
				r.takeMessage(text, measuring.Load())
			}
		}, err
	}
	c, err := net.Dial("tcp", at)
	if err == nil {
		r.conn = c
		_, err = fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", gateway.EventsPath, query, at)
	}
	return func(measuring *atomic.Bool) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			r.take(buffer[:n], measuring.Load())
		}
	}, err
}

// loaded is the server that is measured.
type loaded struct {
	at         string
	pid        int
	begin, end func() // of the events
}

// startLoad starts the process with the gateway, unless the server is another one.
func startLoad(t *testing.T) loaded {
	t.Helper()
	if *loadAt != "" {
		return loaded{at: *loadAt, pid: *loadPID, begin: func() {}, end: func() {}}
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), loadVariable+"="+strconv.Itoa(*loadRate))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	lines.Scan()
	return loaded{
		at: lines.Text(), pid: cmd.Process.Pid,
		begin: func() { fmt.Fprintln(in, "begin") },
		end: func() {
			fmt.Fprintln(in, "end")
			lines.Scan()
			t.Log(lines.Text())
		},
	}
}

// TestLoad measures what a gateway delivers, how old it is then, and the memory of the
// process for each reader.
func TestLoad(t *testing.T) {
	if *loadReaders == 0 {
		t.Skip("no -readers; see make load-gateway")
	}
	server := startLoad(t)
	before := resident(t, server.pid)
	readers := make([]*loadReader, *loadReaders)
	var measuring atomic.Bool
	var running sync.WaitGroup
	for i := range readers {
		readers[i] = new(loadReader)
		read, err := readers[i].connect(server.at)
		if err != nil {
			t.Fatalf("reader %d: %v", i, err)
		}
		running.Go(func() { read(&measuring) })
	}
	time.Sleep(2 * time.Second)
	idle := resident(t, server.pid)
	server.begin()
	time.Sleep(2 * time.Second)
	count := func() (n int64) {
		for _, r := range readers {
			n += r.received.Load()
		}
		return n
	}
	first, began, worked := count(), time.Now(), processorTime(t, server.pid)
	measuring.Store(true)
	time.Sleep(*loadDuration)
	measuring.Store(false)
	delivered, took := count()-first, time.Since(began)
	worked = processorTime(t, server.pid) - worked
	busy := resident(t, server.pid)
	server.end()
	for _, r := range readers {
		r.conn.Close()
	}
	running.Wait()
	var ages []time.Duration
	for _, r := range readers {
		ages = append(ages, r.ages...)
	}
	slices.Sort(ages)
	if len(ages) == 0 {
		t.Fatal("no messages arrived")
	}
	per := func(bytes int) string {
		return fmt.Sprintf("%.1f KiB", float64(bytes-before)/1024/float64(len(readers)))
	}
	t.Logf("%d %s readers, %d messages/s, one in %d selected: %.0f delivered/s, %v of processor time each, age p50 %v, p99 %v, memory per reader %s idle and %s busy",
		len(readers), *loadKind, *loadRate, *loadSelected, float64(delivered)/took.Seconds(), worked/time.Duration(max(1, delivered)),
		ages[len(ages)/2].Round(10*time.Microsecond), ages[len(ages)*99/100].Round(10*time.Microsecond), per(idle), per(busy))
}

// processorTime returns the processor time that a process has used.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // after the name
	fields, ticks := strings.Fields(rest), 0
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// resident returns the resident memory of a process, in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
