package admission

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGate(l Limits) (*Gate, *strings.Builder) {
	log := new(strings.Builder)
	return New(l, NewNotices(zerolog.New(zerolog.SyncWriter(log)))), log
}

func from(address string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(address), Port: 1} }

func TestGate(t *testing.T) {
	g, log := newGate(Limits{Arriving: 2, Established: 1, Loopback: 1, Grace: time.Hour, IdleGrace: time.Hour})
	closed := map[string]int{}
	arrive := func(name, address string) (*Ticket, error) {
		t.Helper()
		return g.Arrive(from(address), func() { closed[name]++ })
	}
	a, err := arrive("a", attacker)
	if err != nil {
		t.Fatal(err)
	}
	b, err := arrive("b", attacker)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := arrive("c", attacker); !errors.Is(err, ErrFull) {
		t.Errorf("third one: %v", err)
	}
	if err := b.Establish(""); err != nil {
		t.Error(err)
	}
	if err := b.Establish("a second time"); err != nil {
		t.Error(err)
	}
	if !b.OnEvict(func() { closed["established b"]++ }) {
		t.Error("b is closed")
	}
	if err := a.Establish(""); !errors.Is(err, ErrFull) {
		t.Errorf("second anonymous one: %v", err)
	}
	here, err := arrive("here", local)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.Establish(""); err != nil {
		t.Errorf("loopback: %v", err)
	}
	if want := (Stats{Arriving: 1, Anonymous: 2, Refused: 2}); g.Stats() != want {
		t.Errorf("%+v, want %+v", g.Stats(), want)
	}
	g.Own(from(operator)).Leave()
	if !g.shed() || closed["a"] != 1 {
		t.Errorf("closed %v", closed)
	}
	if err := a.Establish(""); !errors.Is(err, ErrEvicted) {
		t.Errorf("closed one: %v", err)
	}
	if a.OnEvict(func() {}) {
		t.Error("a is open")
	}
	for g.shed() {
	}
	if closed["b"] != 0 || closed["established b"] != 1 || closed["here"] != 1 {
		t.Errorf("closed %v", closed)
	}
	for _, ticket := range []*Ticket{a, b, here} {
		ticket.Leave()
		ticket.Leave()
	}
	if want := (Stats{Evicted: 3, Refused: 2}); g.Stats() != want {
		t.Errorf("%+v, want %+v", g.Stats(), want)
	}
	if err := g.table.check(); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "refused a new one") != 2 {
		t.Error(log)
	}
}

// Goroutines use the gate at the same time, under the race detector.
func TestGateConcurrently(t *testing.T) {
	g, _ := newGate(Limits{Arriving: 8, PerAddress: 4, Established: 8, Known: 2})
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for range 500 {
				var once sync.Once
				gone := make(chan struct{})
				evict := func() { once.Do(func() { close(gone) }) }
				ticket, err := g.Arrive(from([]string{attacker, operator, local}[i%3]), evict)
				if err != nil {
					continue
				}
				ticket.Touch()
				if ticket.Establish([]string{"", "boss"}[i%2]) == nil && !ticket.OnEvict(evict) {
					<-gone
				}
				ticket.Leave()
			}
		})
	}
	users.Wait()
	if s := g.Stats(); s.Arriving+s.Anonymous+s.Known != 0 {
		t.Errorf("%+v", s)
	}
	if err := g.table.check(); err != nil {
		t.Error(err)
	}
}

// failing is a listener whose Accept returns errors, and then connections.
type failing struct {
	errs   []error
	calls  int
	conns  []net.Conn
	closed chan struct{}
}

func (f *failing) Accept() (net.Conn, error) {
	f.calls++
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	if len(f.conns) > 0 {
		c := f.conns[0]
		f.conns = f.conns[1:]
		return c, nil
	}
	<-f.closed
	return nil, net.ErrClosed
}

func (f *failing) Close() error   { close(f.closed); return nil }
func (f *failing) Addr() net.Addr { return from(local) }

// A process without free descriptors continues to accept, and frees some.
func TestListenerOutOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate(Limits{Arriving: 10})
		idle := 0
		for range 3 {
			if _, err := g.Arrive(from(attacker), func() { idle++ }); err != nil {
				t.Fatal(err)
			}
		}
		out := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		ours, theirs := net.Pipe()
		f := &failing{closed: make(chan struct{}), conns: []net.Conn{theirs}}
		for range 100 {
			f.errs = append(f.errs, out)
		}
		l := g.Listener(f)
		start := time.Now()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 40*time.Second {
			t.Errorf("100 attempts in %s", d)
		}
		if lines := strings.Count(log.String(), "cannot accept"); lines < 2 || lines > 15 {
			t.Errorf("%d lines in the log", lines)
		}
		if idle != 3 {
			t.Errorf("%d idle connections are closed", idle)
		}
		go io.WriteString(ours, "x")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if TicketOf(wrapped{c}).entry.touched.Load() == 0 {
			t.Error("reading is no activity")
		}
		c.Close()
		ours.Close()
		if n := g.Stats().Arriving; n != 0 {
			t.Errorf("%d connections after Close", n)
		}
		f.errs = []error{out}
		end := make(chan error)
		go func() {
			_, err := l.Accept()
			end <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-end; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

// wrapped is a connection around another one, as that of TLS.
type wrapped struct{ net.Conn }

func (w wrapped) NetConn() net.Conn { return w.Conn }

func TestListenerRefuses(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, _ := newGate(Limits{Arriving: 1, Grace: time.Hour})
	l := g.Listener(inner)
	defer l.Close()
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := dial()
	defer first.Close()
	second := dial()
	defer second.Close()
	second.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := second.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("second one: %v", err)
	}
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		n := NewNotices(zerolog.New(&log))
		for range 100 {
			n.Warn("a").Msg("text a")
		}
		n.Warn("b").Msg("text b")
		n.Logger("c").Print("text c")
		if got := strings.Count(log.String(), "text a"); got != 5 {
			t.Errorf("%d lines", got)
		}
		if !strings.Contains(log.String(), "text b") || !strings.Contains(log.String(), `{"level":"info","message":"text c"}`) {
			t.Error(&log)
		}
		log.Reset()
		time.Sleep(10 * time.Second)
		n.Warn("a").Msg("later")
		n.Warn("a").Msg("suppressed")
		if want := `{"level":"warn","suppressed":95,"message":"later"}` + "\n"; log.String() != want {
			t.Errorf("log is %s, want %s", &log, want)
		}
		log.Reset()
		for range 3000 {
			n.Peers(zerolog.InfoLevel, "peer").Msg("peer added")
		}
		if got := strings.Count(log.String(), "peer added"); got != 1000 {
			t.Errorf("%d lines about peers", got)
		}
		log.Reset()
		time.Sleep(200 * time.Millisecond)
		n.Peers(zerolog.InfoLevel, "peer").Msg("later")
		n.Peers(zerolog.InfoLevel, "peer").Msg("suppressed")
		if want := `{"level":"info","suppressed":2000,"message":"later"}` + "\n"; log.String() != want {
			t.Errorf("log is %s, want %s", &log, want)
		}
	})
}

func TestHosts(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	h := Hosts{Names: []string{"zeek.example.com", "*.cluster.example"}, More: func() []string { return []string{"certificate.example"} }}
	for host, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.1:9": true, "[::1]": true, "[2001:db8::1]:9": true, "localhost": true, "LOCALHOST.:9": true,
		"zeek.example.com:1": true, "a.cluster.example": true, "certificate.example": true, own + ":9": true,
		"": false, "evil.example": false, "zeek.example.com.evil.example": false, "cluster.example": false, "localhost.evil.example": false,
		"1.2.3.4.evil.example": false,
	} {
		if got := h.contains(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
	if !(&Hosts{Names: []string{"*"}}).contains("any.example") {
		t.Error("* does not accept all names")
	}
	if err := CheckNames([]string{"a", "*.b"}); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "a b", "http://a", "[a"} {
		if CheckNames([]string{wrong}) == nil {
			t.Errorf("%q is a name", wrong)
		}
	}
}

// A page can change some headers of a request that is no upgrade.
func TestReadsOfPages(t *testing.T) {
	var h Hosts
	for _, tt := range []struct {
		what, host string
		header     http.Header
		refused    bool
	}{
		{"Prometheus", "controller.internal:9911", http.Header{"User-Agent": {"Prometheus/3.1.0"}, "Accept-Encoding": {"gzip"}}, false},
		{"curl", "controller.internal", http.Header{"User-Agent": {"curl/8.5.0"}}, false},
		{"browser at an address", "192.0.2.1:9911", http.Header{"User-Agent": {"Mozilla/5.0"}, "Accept-Language": {"en"}}, false},
		{"page whose name leads here", "evil.example:9911", http.Header{"User-Agent": {"Mozilla/5.0"}, "Accept-Language": {"en"}}, true},
		{"page that hides the browser", "evil.example:9911", http.Header{"User-Agent": {"curl/8.5.0"}, "Accept-Language": {""}}, true},
		{"page in Safari", "evil.example:9911", http.Header{"User-Agent": {"Mozilla/5.0 (Macintosh)"}}, true},
		{"page over TLS", "evil.example:9911", http.Header{"Sec-Fetch-Site": {"same-origin"}}, true},
	} {
		err := h.CheckRead(&http.Request{Host: tt.host, Header: tt.header})
		if refused := errors.As(err, new(*PageError)); refused != tt.refused {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

func TestDescriptors(t *testing.T) {
	if n := Descriptors(); n < 16 || n > manyDescriptors {
		t.Errorf("%d descriptors", n)
	}
}
