package recording_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker/recording"
)

// The replays of both sides of every recording are connected to each other.
// Each has its own endpoint ID and must send the entries of the recording.
func TestReplaysOfBothSidesAgree(t *testing.T) {
	for _, name := range recordings(t) {
		_, entries := readFile(t, name)
		client, server := recording.NewReplay(entries, recording.Client), recording.NewReplay(entries, recording.Server)
		said := append(client.Start(), server.Start()...)
		pairs := 0
		for len(said) > 0 {
			e := said[0]
			to := server
			if e.From == recording.Server {
				to = client
			}
			step, err := to.Receive(e)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if step.Paired {
				pairs++
				if step.Live.Kind != recording.KindHTTP && !bytes.Equal(step.Live.Data, step.Recorded.Data) {
					t.Fatalf("%s: got\n%q, want\n%q", name, step.Live.Data, step.Recorded.Data)
				}
			}
			said = append(said[1:], step.Send...)
		}
		if !client.Done() || !server.Done() || pairs == 0 {
			t.Errorf("%s: client done: %v, server done: %v, %d pairs", name, client.Done(), server.Done(), pairs)
		}
	}
}

const otherKey = "GET /v1/messages/json HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func TestReplayAnswersTheLiveKey(t *testing.T) {
	_, entries := readFile(t, "../../testdata/recordings/zeek-8.0.10-types/zeek-websocket-01.jsonl")
	r := recording.NewReplay(entries, recording.Server)
	if send := r.Start(); len(send) != 0 {
		t.Fatalf("the server first sends %+v", send)
	}
	step, err := r.Receive(recording.Entry{From: recording.Client, Kind: recording.KindHTTP, Data: []byte(otherKey)})
	if err != nil || len(step.Send) == 0 {
		t.Fatalf("got %+v and %v", step, err)
	}
	// This is the example of RFC 6455, section 1.3.
	if !strings.Contains(string(step.Send[0].Data), "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
		t.Errorf("got %q", step.Send[0].Data)
	}
}

func TestReplayAnswersPings(t *testing.T) {
	_, entries := readFile(t, "../../testdata/recordings/zeek-8.0.10-types/zeek-websocket-01.jsonl")
	r := recording.NewReplay(entries, recording.Client)
	r.Start()
	step, err := r.Receive(recording.Entry{From: recording.Server, Kind: recording.KindPing, Data: []byte("x")})
	if err != nil || step.Paired || len(step.Send) != 1 || step.Send[0].Kind != recording.KindPong || string(step.Send[0].Data) != "x" {
		t.Errorf("got %+v and %v, want a pong", step, err)
	}
}

func TestReplayDiverges(t *testing.T) {
	_, entries := readFile(t, "../../testdata/recordings/zeek-8.0.10-types/native-01.jsonl")
	r := recording.NewReplay(entries, recording.Client)
	r.Start()
	_, err := r.Receive(recording.Entry{From: recording.Server, Kind: recording.KindFrame, Data: []byte{0x0c}})
	if !errors.Is(err, recording.ErrDiverged) || !strings.Contains(err.Error(), "got originator_ack, want probe") {
		t.Errorf("got %v", err)
	}
	_, entries = readFile(t, "../../testdata/recordings/zeek-8.0.10-types/zeek-websocket-01.jsonl")
	r = recording.NewReplay(entries, recording.Client)
	r.Start()
	_, err = r.Receive(recording.Entry{From: recording.Server, Kind: recording.KindHTTP, Data: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})
	if !errors.Is(err, recording.ErrDiverged) || !strings.Contains(err.Error(), "got http response 400, want http response 101") {
		t.Errorf("got %v", err)
	}
}

// pipe returns the two ends of a TCP connection.
func pipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// A recorder on a TCP connection between two replays must record the replayed
// entries.
func TestPlayAndRecord(t *testing.T) {
	for _, name := range []string{"native-01.jsonl", "zeek-websocket-01.jsonl"} {
		c, entries := readFile(t, "../../testdata/recordings/zeek-8.0.10-types/"+name)
		file := filepath.Join(t.TempDir(), name)
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		clientEnd, serverEnd := pipe(t)
		recorder := recording.NewRecorder(out, recording.Connection{Name: c.Name, ServerPort: c.ServerPort}, time.Now(), func(err error) { t.Error(err) })
		var wg sync.WaitGroup
		for as, conn := range map[recording.Side]net.Conn{
			recording.Client: recorder.Conn(clientEnd, recording.Client), recording.Server: serverEnd,
		} {
			wg.Go(func() {
				if err := recording.NewReplay(entries, as).Play(t.Context(), conn, time.Minute, nil); err != nil {
					t.Errorf("%s as %s: %v", name, as, err)
				}
			})
		}
		wg.Wait()
		gotConn, got := readFile(t, file)
		if gotConn != c {
			t.Errorf("got %+v, want %+v", gotConn, c)
		}
		if a, b := count(got), count(entries); a != b {
			t.Errorf("%s: got %s, want %s", name, a, b)
		}
	}
}

// count returns the number of entries per side and kind, except for pings and
// pongs.
func count(entries []recording.Entry) string {
	n := map[string]int{}
	for _, e := range entries {
		if e.Kind != recording.KindPing && e.Kind != recording.KindPong {
			n[fmt.Sprint(e.From, " ", e.Kind)]++
		}
	}
	return fmt.Sprint(n)
}

func TestPlayEndsEarly(t *testing.T) {
	_, entries := readFile(t, "../../testdata/recordings/zeek-8.0.10-types/native-01.jsonl")
	client, server := pipe(t)
	defer server.Close()
	err := recording.NewReplay(entries, recording.Client).Play(t.Context(), client, time.Millisecond, nil)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "waiting for probe") {
		t.Errorf("silent peer: got error %v", err)
	}
	client, server = pipe(t)
	server.Close()
	err = recording.NewReplay(entries, recording.Server).Play(t.Context(), client, time.Minute, nil)
	if err == nil {
		t.Error("disconnected peer: got no error")
	}
	client, server = pipe(t)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := recording.NewReplay(entries, recording.Client).Play(ctx, client, time.Minute, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled context: got error %v", err)
	}
}

// file is an output for recorders that counts calls of Close and can fail.
type file struct {
	bytes.Buffer
	err    error
	closed int
}

func (f *file) Write(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Buffer.Write(b)
}

func (f *file) Close() error {
	f.closed++
	return nil
}

func TestRecorderReportsOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		out  *file
		said string
		want error
	}{
		{"disk full", &file{err: io.ErrShortWrite}, "\x00\x00\x00\x05\x07ZEEK\x00\x00\x00\x01\x0c", io.ErrShortWrite},
		{"encrypted", &file{}, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", recording.ErrStream},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var failures []error
			r := recording.NewRecorder(tt.out, recording.Connection{Name: "n"}, time.Now(), func(err error) { failures = append(failures, err) })
			for range 3 {
				r.Write(recording.Client, []byte(tt.said))
				r.Write(recording.Server, []byte(tt.said))
			}
			r.CloseSide(recording.Server)
			r.Close()
			r.Close()
			r.Write(recording.Client, []byte(tt.said))
			if len(failures) != 1 || !errors.Is(failures[0], tt.want) || tt.out.closed != 1 || tt.out.Len() > 0 {
				t.Errorf("got failures %v, closed %d times, wrote %q", failures, tt.out.closed, tt.out.String())
			}
		})
	}
}

func TestTracer(t *testing.T) {
	out := &file{}
	tr := recording.NewTracer(out, recording.Connection{Name: "n", ServerPort: 9999}, recording.Server, func(err error) { t.Error(err) })
	tr.Frame(true, []byte("\x07ZEEK"))
	tr.Frame(false, []byte("\x0c"))
	tr.Close()
	c, entries, err := read(&out.Buffer, "x")
	if err != nil || c.Protocol != recording.Native || out.closed != 1 {
		t.Errorf("got %+v and %v, closed %d times", c, err, out.closed)
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.From)+" "+string(e.Data))
	}
	if want := []string{"server \aZEEK", "client \f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	var failures int
	out = &file{err: io.ErrShortWrite}
	tr = recording.NewTracer(out, recording.Connection{Name: "n"}, recording.Client, func(error) { failures++ })
	for range 3 {
		tr.Frame(true, make([]byte, 10<<10))
	}
	tr.Close()
	if failures != 1 || out.closed != 1 {
		t.Errorf("%d failures, closed %d times, want one each", failures, out.closed)
	}
}

// FuzzReplay replays to a peer that sends arbitrary data.
func FuzzReplay(f *testing.F) {
	_, entries := readFile(f, "../../testdata/recordings/zeek-8.0.10-types/native-01.jsonl")
	for _, e := range entries {
		f.Add(e.Data, 4)
	}
	f.Add(append(make([]byte, 32), "\x04\x00\x10\x00\x00"...), 20)
	f.Fuzz(func(t *testing.T, data []byte, after int) {
		for _, as := range []recording.Side{recording.Client, recording.Server} {
			r := recording.NewReplay(entries, as)
			r.Start()
			for i, e := range entries {
				if i == after {
					e.Data = data
				}
				if e.From == as {
					continue
				}
				if _, err := r.Receive(e); err != nil {
					if !errors.Is(err, recording.ErrDiverged) {
						t.Fatal(err)
					}
					break
				}
			}
		}
	})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

// TestRecordersShareALimit lets three connections send the beginning of large frames.
func TestRecordersShareALimit(t *testing.T) {
	defer recording.SetMaxBuffered(recording.SetMaxBuffered(1000))
	var failed [3]error
	var recorders []*recording.Recorder
	for i := range failed {
		r := recording.NewRecorder(discard{}, recording.Connection{Name: "n"}, time.Now(), func(err error) { failed[i] = err })
		r.Write(recording.Client, []byte("\x00\x00\x00\x01\x0c"))
		r.Write(recording.Client, append([]byte{3, 0, 0, 0}, make([]byte, 400)...))
		recorders = append(recorders, r)
	}
	if failed[0] != nil || failed[1] != nil || !errors.Is(failed[2], recording.ErrBuffer) {
		t.Errorf("failed with %v", failed)
	}
	for _, r := range recorders {
		r.Close()
	}
	if n := recording.BufferedBytes(); n != 0 {
		t.Errorf("%d bytes are buffered", n)
	}
}
