package anontls

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "record new sessions with the openssl program")

// brokerOptions configures the openssl program like Broker. Later options replace
// those of the same name.
var brokerOptions = []string{"-cipher", "AECDH-AES256-SHA@SECLEVEL=0", "-groups", "P-384"}

// session is a dialogue with the openssl program. It is tested with the
// program, if installed, and always with a recording of it.
type session struct {
	name     string
	isClient bool     // this package is the client
	options  []string // options of the program
	config   config   // settings of this package
	state    State    // expected
}

var sessions = []session{
	{
		name:     "client",
		isClient: true,
		options:  []string{"-tls1_2"},
		config:   config{noX25519: true},
		state:    State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:     "client-mac-then-encrypt",
		isClient: true,
		options:  []string{"-tls1_2"},
		config:   config{noX25519: true, noEncryptThenMAC: true},
		state:    State{ExtendedMasterSecret: true},
	},
	{
		name:     "client-plain-master-secret",
		isClient: true,
		options:  []string{"-tls1_2"},
		config:   config{noX25519: true, noExtendedMasterSecret: true},
		state:    State{EncryptThenMAC: true},
	},
	{
		name:     "client-of-tls13-server",
		isClient: true,
		config:   config{noX25519: true},
		state:    State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:    "server",
		options: []string{"-tls1_2"},
		state:   State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:    "server-mac-then-encrypt",
		options: []string{"-tls1_2", "-no_etm"},
		state:   State{ExtendedMasterSecret: true},
	},
	{
		name:    "server-plain-master-secret",
		options: []string{"-tls1_2"},
		config:  config{noExtendedMasterSecret: true},
		state:   State{EncryptThenMAC: true},
	},
	{
		name:  "server-of-tls13-client",
		state: State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:     "client-offers-x25519",
		isClient: true,
		options:  []string{"-tls1_2"},
		state:    State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:     "client-x25519",
		isClient: true,
		options:  []string{"-tls1_2", "-groups", "X25519"},
		state:    State{X25519: true, ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:     "client-both-groups",
		isClient: true,
		options:  []string{"-tls1_2", "-groups", "P-384:X25519"},
		state:    State{X25519: true, ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:     "client-x25519-mac-then-encrypt",
		isClient: true,
		options:  []string{"-tls1_2", "-groups", "X25519"},
		config:   config{noEncryptThenMAC: true, noExtendedMasterSecret: true},
		state:    State{X25519: true},
	},
	{
		name:    "server-x25519",
		options: []string{"-tls1_2", "-groups", "X25519"},
		state:   State{X25519: true, ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:    "server-both-groups",
		options: []string{"-tls1_2", "-groups", "P-384:X25519"},
		state:   State{X25519: true, ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:    "server-without-x25519",
		options: []string{"-tls1_2", "-groups", "X25519:P-384"},
		config:  config{noX25519: true},
		state:   State{ExtendedMasterSecret: true, EncryptThenMAC: true},
	},
	{
		name:    "server-x25519-mac-then-encrypt",
		options: []string{"-tls1_2", "-no_etm", "-groups", "X25519"},
		config:  config{noExtendedMasterSecret: true},
		state:   State{X25519: true},
	},
}

// lines returns the lines that one side sends and the other returns reversed.
// They have all lengths modulo the block size, and one line is long.
func lines() []string {
	var l []string
	for n := range 17 {
		l = append(l, strings.Repeat("a", n)+"b")
	}
	return append(l, strings.Repeat("0123456789", 200))
}

func backwards(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// talk runs this package's side of a session.
func (s session) talk(conn net.Conn) error {
	c := newConn(conn, s.isClient, s.config)
	defer c.Close()
	if err := c.Handshake(); err != nil {
		return err
	}
	if c.State() != s.state {
		return fmt.Errorf("negotiated %+v, want %+v", c.State(), s.state)
	}
	r := bufio.NewReader(c)
	for i, line := range lines() {
		say, want := line, backwards(line)
		if !s.isClient {
			say, want = want, say
		}
		exchange := func() error {
			if s.isClient {
				if _, err := io.WriteString(c, say+"\n"); err != nil {
					return err
				}
			}
			got, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if got != want+"\n" {
				return fmt.Errorf("got %.40q, want %.40q", got, want)
			}
			if !s.isClient {
				_, err = io.WriteString(c, say+"\n")
			}
			return err
		}
		if err := exchange(); err != nil {
			return fmt.Errorf("line %d: %w", i, err)
		}
	}
	return c.Close()
}

func requireOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("NOT TESTED AGAINST A LIVE PEER: the openssl program is not installed")
	}
}

func TestOpenSSL(t *testing.T) {
	requireOpenSSL(t)
	for _, s := range sessions {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conn := s.connect(t)
			conn.SetDeadline(time.Now().Add(time.Minute))
			if *update {
				s.config.random = s.random()
				rec := &recorder{Conn: conn}
				defer rec.write(t, s)
				conn = rec
			}
			if err := s.talk(conn); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// connect starts the program and returns a connection to it.
func (s session) connect(t *testing.T) net.Conn {
	if s.isClient {
		return dialOpenSSL(t, s.options...)
	}
	return acceptOpenSSL(t, s.options...)
}

// TestOpenSSLBulk transfers several records in both directions at the same
// time.
func TestOpenSSLBulk(t *testing.T) {
	requireOpenSSL(t)
	for _, options := range [][]string{{"-tls1_2"}, {"-tls1_2", "-no_etm"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			data := make([]byte, 1<<20)
			rand.NewChaCha8([32]byte{}).Read(data)
			l, cmd := startClient(t, options...)
			cmd.Stdin = bytes.NewReader(data)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			start(t, cmd)
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c := InsecureServer(conn)
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := c.Write(data); err != nil {
					t.Error(err)
				}
			})
			check := func(who string, r io.Reader) {
				got := make([]byte, len(data))
				if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s received other data: %v", who, err)
				}
			}
			wg.Go(func() { check("openssl", stdout) })
			check("server", c)
			wg.Wait()
		})
	}
}

// dialOpenSSL connects to a program that returns lines reversed.
func dialOpenSSL(t *testing.T, options ...string) net.Conn {
	t.Helper()
	args := append([]string{"s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-nocert", "-rev"}, brokerOptions...)
	cmd := exec.Command("openssl", append(args, options...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	r := bufio.NewReader(stdout)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("openssl printed no address: %v", err)
		}
		if addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCEPT "); ok {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			drain(t, r)
			return conn
		}
	}
}

// acceptOpenSSL accepts a program that sends each line after it has received
// the previous one.
func acceptOpenSSL(t *testing.T, options ...string) net.Conn {
	t.Helper()
	l, cmd := startClient(t, options...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		r := bufio.NewReader(stdout)
		for _, line := range lines() {
			if _, err := io.WriteString(stdin, line+"\n"); err != nil {
				return
			}
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
		}
		io.Copy(io.Discard, r)
	}()
	return conn
}

// startClient prepares a program that connects to the returned listener.
func startClient(t *testing.T, options ...string) (net.Listener, *exec.Cmd) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	args := append([]string{"s_client", "-connect", l.Addr().String(), "-quiet"}, brokerOptions...)
	return l, exec.Command("openssl", append(args, options...)...)
}

// start starts a program, and ends it at the end of the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("openssl: %.2000s", stderr.String())
		}
	})
}

func drain(t *testing.T, r io.Reader) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(io.Discard, r)
	}()
	t.Cleanup(func() { <-done })
}

// fixedRandom returns a random source that makes a session repeatable.
func fixedRandom() io.Reader { return rand.NewChaCha8([32]byte{'z', 'e', 'e', 'k'}) }

// random returns the random source of the recording.
func (s session) random() io.Reader { return recordedRandom(s.isClient) }

// recordedRandom returns the random source of the recordings of one end. When the first
// sessions were recorded, a client took its key from the source before the random bytes of
// its hello. Now it takes the key after them, so their places in the source are exchanged.
func recordedRandom(isClient bool) io.Reader {
	r := fixedRandom()
	if !isClient {
		return r
	}
	first := make([]byte, secp384r1.scalarLen+randomLen)
	_, _ = io.ReadFull(r, first) // never fails
	key, hello := first[:secp384r1.scalarLen], first[secp384r1.scalarLen:]
	return io.MultiReader(bytes.NewReader(slices.Concat(hello, key)), r)
}

// recorder is a connection that records its traffic.
type recorder struct {
	net.Conn
	flows []flow
}

type flow struct {
	sent  bool // by this package
	bytes []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.note(false, p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.note(true, p[:n])
	return n, err
}

func (r *recorder) note(sent bool, p []byte) {
	if len(p) == 0 {
		return
	}
	if n := len(r.flows); n > 0 && r.flows[n-1].sent == sent {
		r.flows[n-1].bytes = append(r.flows[n-1].bytes, p...)
		return
	}
	r.flows = append(r.flows, flow{sent, bytes.Clone(p)})
}

func (s session) path() string { return filepath.Join("testdata", "sessions", s.name+".txt") }

// write saves the recording. Lines have the form "> hex" for data sent by this
// package and "< hex" for data sent by the peer. An empty line separates
// changes of direction.
func (r *recorder) write(t *testing.T, s session) {
	if t.Failed() {
		return
	}
	version, err := exec.Command("openssl", "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n", bytes.TrimSpace(version))
	for _, f := range r.flows {
		b.WriteString("\n")
		mark := "<"
		if f.sent {
			mark = ">"
		}
		for len(f.bytes) > 0 {
			n := min(len(f.bytes), 64)
			fmt.Fprintf(&b, "%s %x\n", mark, f.bytes[:n])
			f.bytes = f.bytes[n:]
		}
	}
	if err := os.MkdirAll(filepath.Dir(s.path()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFlows(path string) ([]flow, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r recorder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		mark, digits, _ := strings.Cut(line, " ")
		b, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r.note(mark == ">", b)
	}
	return r.flows, nil
}

// replay is a connection to a recorded peer. The data sent must equal the
// recorded data.
type replay struct {
	net.Conn // nil
	flows    []flow
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.flows) == 0 {
		return 0, io.EOF
	}
	f := &r.flows[0]
	if f.sent {
		return 0, fmt.Errorf("read before %d recorded bytes were sent", len(f.bytes))
	}
	n := copy(p, f.bytes)
	r.take(n)
	return n, nil
}

func (r *replay) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if len(r.flows) == 0 || !r.flows[0].sent {
			return 0, errors.New("sent more data than recorded")
		}
		n := min(len(rest), len(r.flows[0].bytes))
		if !bytes.Equal(rest[:n], r.flows[0].bytes[:n]) {
			return 0, fmt.Errorf("sent %x, want %x as recorded", rest[:n], r.flows[0].bytes[:n])
		}
		rest = rest[n:]
		r.take(n)
	}
	return len(p), nil
}

func (r *replay) take(n int) {
	f := &r.flows[0]
	if f.bytes = f.bytes[n:]; len(f.bytes) == 0 {
		r.flows = r.flows[1:]
	}
}

func (r *replay) Close() error                     { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }

func TestRecordedSessions(t *testing.T) {
	for _, s := range sessions {
		t.Run(s.name, func(t *testing.T) {
			flows, err := readFlows(s.path())
			if err != nil {
				t.Fatal(err)
			}
			s.config.random = s.random()
			r := &replay{flows: flows}
			if err := s.talk(r); err != nil {
				t.Fatal(err)
			}
			if n := len(r.flows); n != 0 {
				t.Errorf("%d recorded flows remain", n)
			}
		})
	}
}
