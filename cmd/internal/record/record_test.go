package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/cmd/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// log collects the log of the command.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start runs the command. It returns its address, and a function that stops it
// and returns its log.
func start(t *testing.T, o record.Options) (address string, end func() string) {
	t.Helper()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	logged, done := &log{}, make(chan error)
	go func() { done <- record.Run(ctx, l, o, logged) }()
	return l.Addr().String(), func() string {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return logged.String()
	}
}

func read(t *testing.T, name string) (recording.Connection, []recording.Entry) {
	t.Helper()
	connection, entries, err := recording.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return connection, entries
}

// TestRecordReplays checks that the recording of a replay equals the replayed
// recording, except for pings and IDs.
func TestRecordReplays(t *testing.T) {
	for i, name := range []string{"native-01.jsonl", "broker-websocket-01.jsonl", "zeek-websocket-01.jsonl"} {
		t.Run(name, func(t *testing.T) {
			want, entries := read(t, "../../../testdata/recordings/zeek-8.0.10-types/"+name)
			server := listen(t)
			dir := filepath.Join(t.TempDir(), "new")
			address, end := start(t, record.Options{Connect: server.Addr().String(), Output: dir, Name: want.Name})
			var both sync.WaitGroup
			both.Go(func() {
				conn, err := server.Accept()
				if err == nil {
					err = recording.NewReplay(entries, recording.Server).Play(t.Context(), conn, time.Minute, nil)
				}
				if err != nil {
					t.Errorf("server: %v", err)
				}
			})
			both.Go(func() {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					err = recording.NewReplay(entries, recording.Client).Play(t.Context(), conn, time.Minute, nil)
				}
				if err != nil {
					t.Errorf("client: %v", err)
				}
			})
			both.Wait()
			logged := end()
			file := filepath.Join(dir, want.Name+"-01.jsonl")
			if strings.Count(logged, "\n") != 1 || !strings.Contains(logged, " to "+file) {
				t.Errorf("log is %q", logged)
			}
			got, gotEntries := read(t, file)
			if got.Name != want.Name || got.Protocol != want.Protocol || got.ServerPort != uint16(server.Addr().(*net.TCPAddr).Port) {
				t.Errorf("got %+v", got)
			}
			if a, b := said(gotEntries), said(entries); a != b {
				t.Errorf("%d: got\n%s, want\n%s", i, a, b)
			}
		})
	}
}

// said lists the frames of each side in order, without the parts that depend on
// time or on IDs.
func said(entries []recording.Entry) string {
	sides := map[recording.Side]string{}
	for _, e := range entries {
		switch e.Kind {
		case recording.KindPing, recording.KindPong, recording.KindHTTP:
		case recording.KindFrame:
			sides[e.From] += fmt.Sprintf(" %x", e.Data[min(len(e.Data), 32):])
		default:
			sides[e.From] += fmt.Sprintf(" %s %s", e.Kind, e.Data)
		}
	}
	return fmt.Sprint(sides)
}

const (
	probe = "\x00\x00\x00\x05\x07ZEEK"
	hello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
)

// talk sends a message through the recorder to an echo server, and waits for
// the end of the connection.
func talk(t *testing.T, server net.Listener, address, say string) {
	t.Helper()
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, say); err != nil {
		t.Fatal(err)
	}
	client.(*net.TCPConn).CloseWrite()
	heard, err := io.ReadAll(conn)
	if err != nil || string(heard) != say {
		t.Errorf("the server received %q and %v, want %q", heard, err, say)
	}
	if _, err := conn.Write(heard); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if heard, err := io.ReadAll(client); err != nil || string(heard) != say {
		t.Errorf("the client received %q and %v, want %q", heard, err, say)
	}
}

func TestFilesAreNeverOverwritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(file, []byte("keep me"), 0o666); err != nil {
		t.Fatal(err)
	}
	server := listen(t)
	address, end := start(t, record.Options{Connect: server.Addr().String(), Output: file})
	talk(t, server, address, probe)
	talk(t, server, address, probe)
	end()
	if b, err := os.ReadFile(file); err != nil || string(b) != "keep me" {
		t.Errorf("got %q and %v", b, err)
	}
	for _, name := range []string{"a-02.jsonl", "a-03.jsonl"} {
		if c, entries := read(t, filepath.Join(filepath.Dir(file), name)); len(entries) != 2 || c.Name != record.DefaultName {
			t.Errorf("%s: got %+v with %d entries", name, c, len(entries))
		}
	}
}

func TestEncryptedTrafficIsForwarded(t *testing.T) {
	dir := t.TempDir()
	server := listen(t)
	address, end := start(t, record.Options{Connect: server.Addr().String(), Output: dir})
	talk(t, server, address, hello)
	logged := end()
	if !strings.Contains(logged, "encrypted with TLS") || !strings.Contains(logged, "nothing to record") {
		t.Errorf("log is %q", logged)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("remaining files: %v", files)
	}
}

func TestServerUnreachable(t *testing.T) {
	server := listen(t)
	server.Close()
	address, end := start(t, record.Options{Connect: server.Addr().String(), Output: t.TempDir()})
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Read(make([]byte, 1)) // returns when the recorder has closed the connection
	if logged := end(); !strings.Contains(logged, "connection refused") {
		t.Errorf("log is %q", logged)
	}
}

func TestEndClosesConnections(t *testing.T) {
	dir := t.TempDir()
	server := listen(t)
	address, end := start(t, record.Options{Connect: server.Addr().String(), Output: dir})
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, probe); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, len(probe))); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if _, entries := read(t, filepath.Join(dir, "recording-01.jsonl")); len(entries) != 1 {
		t.Errorf("got %d entries, want 1", len(entries))
	}
}

func TestInvalidName(t *testing.T) {
	l := listen(t)
	err := record.Run(t.Context(), l, record.Options{Output: t.TempDir(), Name: "../x"}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `name "../x" contains a slash`) {
		t.Errorf("got %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

// TestRecordReportsBrokenFrames sends a frame that is too large, through the proxy.
func TestRecordReportsBrokenFrames(t *testing.T) {
	server := listen(t)
	address, end := start(t, record.Options{Connect: server.Addr().String(), Output: t.TempDir()})
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const stream = "\x00\x00\x00\x01\x0c\x7f\xff\xff\xff\x0c"
	if _, err := io.WriteString(client, stream); err != nil {
		t.Fatal(err)
	}
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(stream))); err != nil { // it is forwarded
		t.Fatal(err)
	}
	logged := end()
	want := fmt.Sprintf("broken frame from client %v to server %v at offset 5, first bytes 7fffffff0c: ", client.LocalAddr(), server.Addr())
	if strings.Count(logged, "\n") != 2 || !strings.Contains(logged, want) {
		t.Errorf("logged %s, want %s", logged, want)
	}
}
