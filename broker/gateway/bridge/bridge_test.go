package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/gateway/bridge"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// natsServer is a real server of NATS.
type natsServer struct {
	t       *testing.T
	options server.Options
	running *server.Server
	address string
}

// newServer returns a server that is not running, with an address that it keeps.
func newServer(t *testing.T, change func(*server.Options)) *natsServer {
	t.Helper()
	address := netip.MustParseAddrPort(peertest.FreeAddress(t))
	s := &natsServer{t: t, address: address.String(), options: server.Options{
		Host: address.Addr().String(), Port: int(address.Port()), JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	if change != nil {
		change(&s.options)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(time.Minute) {
		s.t.Fatal("the server of NATS does not start")
	}
	s.running = running
}

func (s *natsServer) stop() {
	if s.running != nil {
		s.running.Shutdown()
		s.running.WaitForShutdown()
		s.running = nil
	}
}

// jetStream returns a client of the server.
func (s *natsServer) jetStream(options ...nats.Option) jetstream.JetStream {
	s.t.Helper()
	conn, err := nats.Connect("nats://"+s.address, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return js
}

// stored returns the lines in the stream, with the name of their Zeek.
func (s *natsServer) stored(js jetstream.JetStream) (lines []string) {
	s.t.Helper()
	stream, err := js.Stream(s.t.Context(), bridge.DefaultStream)
	if err != nil {
		s.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for n := state.FirstSeq; n <= state.LastSeq; n++ {
		msg, err := stream.GetMsg(s.t.Context(), n)
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(msg.Data)) {
			lines = append(lines, msg.Subject+" "+msg.Header.Get("Zeekwire-Zeek")+" "+strings.TrimSpace(line))
		}
	}
	return lines
}

// awaitConsumers waits until bridges read from the stream, at most a minute.
func (s *natsServer) awaitConsumers(js jetstream.JetStream, bridges int) {
	s.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		if stream, err := js.Stream(s.t.Context(), bridge.DefaultStream); err == nil && stream.CachedInfo().State.Consumers == bridges {
			return
		}
	}
}

// run starts a bridge, which ends with the test, or earlier with end.
func run(t *testing.T, s *natsServer, cfg bridge.Config) (b *bridge.Bridge, end func()) {
	t.Helper()
	if len(cfg.URLs) == 0 {
		cfg.URLs = []string{"nats://" + s.address}
	}
	if cfg.Gateway == "" {
		cfg.Gateway = "test"
	}
	b, err := bridge.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return b, end
}

// until waits until a condition on the numbers of a bridge holds.
func until(t *testing.T, b *bridge.Bridge, what string, holds func(bridge.Stats) bool) {
	t.Helper()
	for began := time.Now(); !holds(b.Stats()); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s: %+v", what, b.Stats())
		}
	}
}

func text(topic, value string) broker.Message {
	return broker.Message{Topic: topic, Value: broker.String(value)}
}

// publish publishes numbered messages of a topic.
func publish(t *testing.T, b *bridge.Bridge, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := b.Publish(fmt.Sprintf("%s-%d", topic, i), "lab", text(topic, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers returns the lines of numbered messages of a topic.
func numbers(subject, topic string, from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf(`%s lab {"type":"data-message","topic":"%s","@data-type":"string","data":"%d"}`, subject, topic, i))
	}
	return lines
}

// collector collects what a bridge delivers.
type collector struct {
	mu    sync.Mutex
	lines []string
}

func (c *collector) deliver(_ context.Context, zeek string, m broker.Message) {
	value, _ := m.Value.Text()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, zeek+" "+m.Topic+" "+value)
}

func (c *collector) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Messages of one gateway reach the stream, and from there another gateway, but not the one
// that published them.
func TestBridge(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	var own, other collector
	a, endA := run(t, s, bridge.Config{Gateway: "a", Deliver: own.deliver, Topics: []string{""}})
	b, _ := run(t, s, bridge.Config{Gateway: "b", Deliver: other.deliver, Topics: []string{"zeek/ev", "/t"}})
	s.awaitConsumers(s.jetStream(), 2)
	for i, m := range []broker.Message{text("zeek/events", "1"), text("zeek/other", "2"), text("/t", "3"), text("zeek/events", "4")} {
		zeek := "böse zeek"
		if i == 3 {
			zeek = ""
		}
		if err := a.Publish(fmt.Sprint(i), zeek, m); err != nil {
			t.Fatal(err)
		}
	}
	until(t, b, "b receives", func(s bridge.Stats) bool { return s.Received == 3 })
	endA()
	got := other.got()
	slices.Sort(got)
	if diff := cmp.Diff([]string{" zeek/events 4", "böse zeek /t 3", "böse zeek zeek/events 1"}, got); diff != "" {
		t.Errorf("delivered (-want +got)\n%s", diff)
	}
	if len(own.got()) > 0 {
		t.Errorf("a got its own messages %q", own.got())
	}
	if stats := a.Stats(); stats.Published != 4 || stats.Waiting != 0 || stats.WaitingBytes != 0 {
		t.Errorf("%+v", stats)
	}
	if err := a.Publish("x", "", text("t", "x")); !errors.Is(err, bridge.ErrEnded) {
		t.Errorf("publishing after the end: %v", err)
	}
}

// A stream may contain messages of other programs, with any content.
func TestUnreadable(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	var c collector
	b, _ := run(t, s, bridge.Config{Deliver: c.deliver, Topics: []string{""}})
	js := s.jetStream()
	s.awaitConsumers(js, 1)
	for _, data := range []string{"", "x", "{}", `{"type":"ack"}`, "\n\n", `{"type":"data-message","topic":"","@data-type":"none"}`, `{"type":"data-message","topic":"t","@data-type":"string","data":"good"}`} {
		if _, err := js.Publish(t.Context(), "zeek.t", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, b, "the good message", func(s bridge.Stats) bool { return s.Received == 1 })
	if diff := cmp.Diff([]string{" t good"}, c.got()); diff != "" {
		t.Errorf("delivered (-want +got)\n%s", diff)
	}
}

// Messages wait for a server that starts later, and each topic keeps its order over restarts
// of the server. Readers at another gateway get each message once.
func TestRestarts(t *testing.T) {
	s := newServer(t, nil)
	var c collector
	b, _ := run(t, s, bridge.Config{})
	publish(t, b, "/early", 0, 500)
	if stats := b.Stats(); stats.Waiting != 500 || stats.Connected {
		t.Fatalf("without a server: %+v", stats)
	}
	s.start()
	until(t, b, "the queue is sent", func(s bridge.Stats) bool { return s.Published == 500 })
	reader, _ := run(t, s, bridge.Config{Gateway: "reader", Deliver: c.deliver, Topics: []string{"/t"}})
	publish(t, b, "/t/0", 0, 1)
	js := s.jetStream()
	const topics, each = 3, 3000
	ready := 1
	for began := time.Now(); reader.Stats().Received == 0 && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		publish(t, b, "/t/0", ready, ready+1) // until the reader has begun
		ready++
	}
	for i := range each {
		for topic := range topics {
			publish(t, b, fmt.Sprint("/t/", topic+1), i, i+1)
		}
		if i%1000 == 500 {
			s.stop()
			s.start()
		}
		if i%100 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	until(t, b, "all are sent", func(s bridge.Stats) bool { return s.Waiting == 0 })
	until(t, reader, "all are received", func(s bridge.Stats) bool { return s.Received >= topics*each })
	lines := s.stored(js)
	for topic := range topics {
		name := fmt.Sprint("/t/", topic+1)
		subject := bridge.Subject("zeek", name)
		got := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, subject+" ") })
		if diff := cmp.Diff(numbers(subject, name, 0, each), got); diff != "" {
			t.Errorf("the stream has of topic %s (-want +got)\n%.2000s", name, diff)
		}
		var want []string
		for i := range each {
			want = append(want, fmt.Sprintf("lab %s %d", name, i))
		}
		delivered := slices.DeleteFunc(c.got(), func(l string) bool { return !strings.HasPrefix(l, "lab "+name+" ") })
		if diff := cmp.Diff(want, delivered); diff != "" {
			t.Errorf("the reader got of topic %s (-want +got)\n%.2000s", name, diff)
		}
	}
	t.Logf("%+v", b.Stats())
}

// A confirmation that is lost makes the bridge send the message again, which the stream
// recognizes by its ID.
func TestLostConfirmation(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	through := newRelay(t, s.address)
	b, _ := run(t, s, bridge.Config{URLs: []string{"nats://" + through.address}})
	publish(t, b, "/t", 0, 1)
	until(t, b, "the first message", func(s bridge.Stats) bool { return s.Published == 1 })
	through.hold(true) // the server gets messages, but its answers are kept
	publish(t, b, "/t", 1, 100)
	js := s.jetStream()
	for began := time.Now(); len(s.stored(js)) < 2; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the stream does not get the message")
		}
	}
	through.cut()
	through.hold(false)
	until(t, b, "the others", func(s bridge.Stats) bool { return s.Published == 100 })
	if diff := cmp.Diff(numbers("zeek.%.t", "/t", 0, 100), s.stored(js)); diff != "" {
		t.Errorf("the stream (-want +got)\n%s", diff)
	}
	if b.Stats().Repeated == 0 {
		t.Error("nothing was sent again")
	}
}

// A server that does not answer does not delay the gateway. The queue fills, and further
// messages are counted and dropped. The messages in the queue are sent when it answers.
func TestSlowServer(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	through := newRelay(t, s.address)
	b, _ := run(t, s, bridge.Config{URLs: []string{"nats://" + through.address}, Queue: 64 << 10})
	publish(t, b, "/t", 0, 1)
	until(t, b, "the first message", func(s bridge.Stats) bool { return s.Published == 1 })
	through.hold(true)
	accepted := 1
	for i := 1; i < 5000; i++ {
		switch err := b.Publish(fmt.Sprint("m", i), "lab", text("/t", fmt.Sprint(i))); {
		case err == nil && i == accepted:
			accepted++
		case !errors.Is(err, bridge.ErrFull):
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if stats := b.Stats(); stats.Full != uint64(5000-accepted) || stats.WaitingBytes > 64<<10 {
		t.Errorf("%d accepted, %+v", accepted, stats)
	}
	through.hold(false)
	until(t, b, "the queue", func(s bridge.Stats) bool { return s.Waiting == 0 })
	if diff := cmp.Diff(numbers("zeek.%.t", "/t", 0, accepted), s.stored(s.jetStream())); diff != "" {
		t.Errorf("the stream (-want +got)\n%.2000s", diff)
	}
}

// In a full stream that keeps its oldest messages, messages wait until there is place.
func TestFullStream(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	js := s.jetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: bridge.DefaultStream, Subjects: []string{"zeek.>"}, MaxMsgs: 1, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := run(t, s, bridge.Config{Queue: 16 << 10})
	publish(t, b, "/t", 0, 1)
	until(t, b, "the first message", func(s bridge.Stats) bool { return s.Published == 1 })
	publish(t, b, "/t", 1, 50)
	until(t, b, "the stream is full", func(s bridge.Stats) bool { return s.Repeated > 0 })
	for i := 50; i < 500; i++ {
		if err := b.Publish(fmt.Sprint("m", i), "lab", text("/t", fmt.Sprint(i))); errors.Is(err, bridge.ErrFull) {
			break
		}
	}
	stats := b.Stats()
	if stats.Full == 0 || stats.Published != 1 {
		t.Errorf("%+v", stats)
	}
	for began := time.Now(); b.Stats().Waiting > 0; time.Sleep(10 * time.Millisecond) {
		if err := stream.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%+v", b.Stats())
		}
	}
	if got := b.Stats().Published; got != uint64(1+stats.Waiting) {
		t.Errorf("%d messages are confirmed, want %d", got, 1+stats.Waiting)
	}
}

// A message that the server, or the stream, never accepts is dropped and counted. Those after
// it are sent.
func TestTooLarge(t *testing.T) {
	for name, prepare := range map[string]func(*natsServer){
		"for the server": func(s *natsServer) { s.options.MaxPayload = 4096; s.start() },
		"for the stream": func(s *natsServer) {
			s.start()
			if _, err := s.jetStream().CreateStream(t.Context(), jetstream.StreamConfig{
				Name: bridge.DefaultStream, Subjects: []string{"zeek.>"}, MaxMsgSize: 4096,
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			b, _ := run(t, s, bridge.Config{Queue: 1 << 20})
			publish(t, b, "/t", 0, 100)
			for i, size := range []int{5000, 2 << 20} {
				err := b.Publish(fmt.Sprint("large", i), "lab", text("/t", strings.Repeat("x", size)))
				if want := size > 1<<20; errors.Is(err, bridge.ErrTooLarge) != want {
					t.Fatalf("%d bytes: %v", size, err)
				}
			}
			publish(t, b, "/t", 100, 200)
			prepare(s)
			until(t, b, "the others", func(s bridge.Stats) bool { return s.Waiting == 0 })
			if stats := b.Stats(); stats.TooLarge != 2 || stats.Published != 200 {
				t.Errorf("%+v", stats)
			}
			if diff := cmp.Diff(numbers("zeek.%.t", "/t", 0, 200), s.stored(s.jetStream())); diff != "" {
				t.Errorf("the stream (-want +got)\n%.2000s", diff)
			}
		})
	}
}

// Gateways create a deleted stream again, when they publish to it and when they read it.
func TestDeletedStream(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	var c collector
	b, _ := run(t, s, bridge.Config{})
	reader, _ := run(t, s, bridge.Config{Gateway: "reader", Deliver: c.deliver, Topics: []string{""}})
	sent := 0
	for began := time.Now(); reader.Stats().Received < 10 && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		publish(t, b, "/t", sent, sent+1)
		sent++
	}
	until(t, b, "all are sent", func(s bridge.Stats) bool { return s.Waiting == 0 })
	before := reader.Stats().Received
	if err := s.jetStream().DeleteStream(t.Context(), bridge.DefaultStream); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "/t", sent, sent+5)
	until(t, b, "the new stream", func(s bridge.Stats) bool { return s.Waiting == 0 })
	until(t, reader, "all are received", func(s bridge.Stats) bool { return s.Received == before+5 })
	if got := c.got(); got[len(got)-1] != fmt.Sprintf("lab /t %d", sent+4) {
		t.Errorf("the last message is %q", got[len(got)-1])
	}
}

// A stream that was deleted and created again is read from its beginning, also if it has more
// messages than were read of the former one.
func TestNewStream(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	var c collector
	reader, _ := run(t, s, bridge.Config{Gateway: "reader", Deliver: c.deliver, Topics: []string{""}})
	js := s.jetStream()
	sent := 0
	publish := func() error {
		sent++
		_, err := js.Publish(t.Context(), "zeek.t", fmt.Appendf(nil, `{"type":"data-message","topic":"t","@data-type":"string","data":"%d"}`, sent))
		return err
	}
	for began := time.Now(); reader.Stats().Received == 0 && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		_ = publish() // the stream may not be there yet
	}
	stream, err := js.Stream(t.Context(), bridge.DefaultStream)
	if err != nil {
		t.Fatal(err)
	}
	last := stream.CachedInfo().State.LastSeq
	until(t, reader, "all are received", func(bridge.Stats) bool { got := c.got(); return got[len(got)-1] == fmt.Sprint(" t ", sent) })
	before := reader.Stats().Received
	if err := js.DeleteStream(t.Context(), bridge.DefaultStream); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	for range last + 3 {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, reader, "the messages of the new stream", func(s bridge.Stats) bool { return s.Received == before+last+3 })
}

// A reader that was disconnected counts the messages that the stream removed meanwhile.
func TestRemoved(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	js := s.jetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: bridge.DefaultStream, Subjects: []string{"zeek.>"}, MaxMsgs: 10}); err != nil {
		t.Fatal(err)
	}
	through := newRelay(t, s.address)
	var c collector
	reader, _ := run(t, s, bridge.Config{Gateway: "reader", URLs: []string{"nats://" + through.address}, Deliver: c.deliver, Topics: []string{""}})
	publish := func() {
		if _, err := js.Publish(t.Context(), "zeek.t", []byte(`{"type":"data-message","topic":"t","@data-type":"string","data":"x"}`)); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); reader.Stats().Received == 0 && time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		publish()
	}
	through.refuse(true)
	through.cut()
	for range 100 {
		publish()
	}
	through.refuse(false)
	until(t, reader, "removed messages", func(s bridge.Stats) bool { return s.Removed > 0 })
	publish()
	until(t, reader, "the rest", func(s bridge.Stats) bool { return s.Received >= 11 })
}

// A message that is being delivered is delivered completely when the connection is lost.
func TestDeliversWhileDisconnected(t *testing.T) {
	s := newServer(t, nil)
	s.start()
	through := newRelay(t, s.address)
	began, lost, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	first := true
	reader, _ := run(t, s, bridge.Config{Gateway: "reader", URLs: []string{"nats://" + through.address}, Topics: []string{""}, Deliver: func(ctx context.Context, _ string, _ broker.Message) {
		if first {
			first = false
			close(began)
			<-lost
			ended <- ctx.Err()
		}
	}})
	b, _ := run(t, s, bridge.Config{})
	for sent, delivering := 0, false; !delivering; sent++ {
		publish(t, b, "/t", sent, sent+1) // until the reader has begun
		select {
		case <-began:
			delivering = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	through.refuse(true)
	through.cut()
	until(t, reader, "the loss", func(s bridge.Stats) bool { return !s.Connected })
	close(lost)
	if err := <-ended; err != nil {
		t.Errorf("the delivery ended: %v", err)
	}
	through.refuse(false)
}

// The kinds of credentials that a server may want.
func TestCredentials(t *testing.T) {
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "credentials")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	user, public := nkey(t)
	for name, tt := range map[string]struct {
		text   string
		server func(*server.Options)
	}{
		"password": {"gateway:se:cret\n", func(o *server.Options) { o.Username, o.Password = "gateway", "se:cret" }},
		"token":    {"a-token\n", func(o *server.Options) { o.Authorization = "a-token" }},
		"nkey":     {user + "\n", func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tt.server)
			s.start()
			b, _ := run(t, s, bridge.Config{Credentials: write(tt.text)})
			publish(t, b, "/t", 0, 1)
			until(t, b, "the message", func(s bridge.Stats) bool { return s.Published == 1 })
			refused, end := run(t, s, bridge.Config{Credentials: write("wrong:wrong")})
			publish(t, refused, "/t", 0, 1)
			time.Sleep(50 * time.Millisecond)
			if stats := refused.Stats(); stats.Connected || stats.Published > 0 {
				t.Errorf("with wrong credentials: %+v", stats)
			}
			end()
		})
	}
	for _, text := range []string{"", "a\nb"} {
		if _, err := bridge.New(bridge.Config{URLs: []string{"nats://h:1"}, Gateway: "g", Credentials: write(text)}); err == nil {
			t.Errorf("the credentials %q are accepted", text)
		}
	}
}

func TestConfig(t *testing.T) {
	good := bridge.Config{URLs: []string{"nats://h:1"}, Gateway: "g"}
	if _, err := bridge.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*bridge.Config){
		"no URL":            func(c *bridge.Config) { c.URLs = nil },
		"no host":           func(c *bridge.Config) { c.URLs = []string{"nats://"} },
		"a user":            func(c *bridge.Config) { c.URLs = []string{"nats://user:secret@h:1"} },
		"another scheme":    func(c *bridge.Config) { c.URLs = []string{"http://h:1"} },
		"no gateway":        func(c *bridge.Config) { c.Gateway = "" },
		"a negative queue":  func(c *bridge.Config) { c.Queue = -1 },
		"a stream with dot": func(c *bridge.Config) { c.Stream = "a.b" },
		"a wild prefix":     func(c *bridge.Config) { c.Prefix = "a.>" },
		"an empty token":    func(c *bridge.Config) { c.Prefix = "a..b" },
		"a prefix of NATS":  func(c *bridge.Config) { c.Prefix = "$JS" },
		"half a key":        func(c *bridge.Config) { c.Cert = "cert" },
		"no credentials":    func(c *bridge.Config) { c.Credentials = "/nonexistent" },
	} {
		c := good
		change(&c)
		_, err := bridge.New(c)
		if err == nil {
			t.Errorf("%s is accepted", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error %v has the password", name, err)
		}
	}
	for _, bad := range []string{"nats://u:secret@h\x7f:1", "nats://u:secret@%zz"} {
		if err := bridge.CheckURL(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url.PathEscape(bad), err)
		}
	}
}
