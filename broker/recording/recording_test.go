package recording_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recordings returns the recordings of Zeek's traffic.
func recordings(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/recordings/*/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	return files
}

// read returns the content of a recording.
func read(r io.Reader, name string) (recording.Connection, []recording.Entry, error) {
	rd, err := recording.NewReader(r, name)
	if err != nil {
		return recording.Connection{}, nil, err
	}
	var entries []recording.Entry
	for {
		e, err := rd.Next()
		if err == io.EOF {
			return rd.Connection(), entries, nil
		}
		if err != nil {
			return rd.Connection(), entries, err
		}
		entries = append(entries, e)
	}
}

func readFile(t testing.TB, name string) (recording.Connection, []recording.Entry) {
	t.Helper()
	c, entries, err := recording.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return c, entries
}

func write(t testing.TB, c recording.Connection, entries []recording.Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := recording.NewWriter(&out, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadingAndWritingPreservesFiles(t *testing.T) {
	for _, name := range recordings(t) {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, entries := readFile(t, name)
		if got := write(t, c, entries); !bytes.Equal(got, want) {
			t.Errorf("%s: reading and writing changed it", name)
		}
	}
}

const (
	nativeLine    = `{"connection": {"name": "n", "protocol": "native", "server_port": 9999}}` + "\n"
	webSocketLine = `{"connection": {"name": "w", "protocol": "websocket", "server_port": 2149}}` + "\n"
)

func TestReaderErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", "x:1: not a valid recording: the file is empty"},
		{"not JSON", "GET /\n", `x:1: not a valid recording: not a JSON object: "GET /"`},
		{"empty object", "{}\n", "x:1: not a valid recording: not a JSON object"},
		{"entry first", `{"t": 1, "from": "client", "kind": "frame", "hex": ""}`, `x:1: not a valid recording: unknown member "t"`},
		{"no name", `{"connection": {"protocol": "native", "server_port": 1}}`, `no member "name"`},
		{"name is a number", `{"connection": {"name": 1, "protocol": "native", "server_port": 1}}`, `member "name" is 1, want a string`},
		{"unknown protocol", `{"connection": {"name": "", "protocol": "tls", "server_port": 1}}`, `protocol is "tls", want native or websocket`},
		{"port out of range", `{"connection": {"name": "", "protocol": "native", "server_port": 65536}}`, "server_port is 65536, want 0 to 65535"},
		{"port is text", `{"connection": {"name": "", "protocol": "native", "server_port": "1"}}`, `server_port is "1", want`},
		{"long name", `{"connection": {"name": "` + strings.Repeat("n", 2000) + `", "protocol": "native", "server_port": 1}}`, "name of 2000 bytes"},
		{"member name in other case", `{"Connection": {}}`, `unknown member "Connection"`},
		{"two objects", strings.TrimSpace(nativeLine) + "{}", "unexpected text after the JSON object"},

		{"blank line", nativeLine + "\n", `x:2: not a valid recording: not a JSON object: ""`},
		{"cut line", nativeLine + `{"t": 1, "from": "cl`, "the line ends within the JSON object"},
		{"cut object", nativeLine + `{"t": 1`, "the line ends within the JSON object"},
		{"not UTF-8", nativeLine + "{\"t\": 1, \"from\": \"client\", \"kind\": \"\xff\", \"hex\": \"\"}", "not UTF-8"},
		{"no t", nativeLine + `{"from": "client", "kind": "frame", "hex": ""}`, "t is , want seconds"},
		{"t is text", nativeLine + `{"t": "1", "from": "client", "kind": "frame", "hex": ""}`, `t is "1", want seconds`},
		{"t is negative", nativeLine + `{"t": -1, "from": "client", "kind": "frame", "hex": ""}`, "t is -1, want seconds"},
		{"t is huge", nativeLine + `{"t": 1e300, "from": "client", "kind": "frame", "hex": ""}`, "t is 1e300, want seconds"},
		{"no from", nativeLine + `{"t": 1, "kind": "frame", "hex": ""}`, `no member "from"`},
		{"unknown side", nativeLine + `{"t": 1, "from": "peer", "kind": "frame", "hex": ""}`, `from is "peer", want client or server`},
		{"unknown kind", nativeLine + `{"t": 1, "from": "client", "kind": "blob", "hex": ""}`, `kind "blob" is not valid on a native connection`},
		{"text in native", nativeLine + `{"t": 1, "from": "client", "kind": "text", "hex": ""}`, `kind "text" is not valid on a native connection`},
		{"frame in websocket", webSocketLine + `{"t": 1, "from": "client", "kind": "frame", "hex": ""}`, `kind "frame" is not valid on a websocket connection`},
		{"no hex", nativeLine + `{"t": 1, "from": "client", "kind": "frame"}`, `no member "hex"`},
		{"text instead of hex", webSocketLine + `{"t": 1, "from": "client", "kind": "ping", "text": ""}`, `member "text" in an entry of kind ping, want "hex"`},
		{"hex instead of text", webSocketLine + `{"t": 1, "from": "client", "kind": "http", "hex": ""}`, `member "hex" in an entry of kind http, want "text"`},
		{"odd number of hex digits", nativeLine + `{"t": 1, "from": "client", "kind": "frame", "hex": "abc"}`, "odd length"},
		{"invalid hex digit", nativeLine + `{"t": 1, "from": "client", "kind": "frame", "hex": "0g"}`, "invalid byte"},
		{"hex is null", nativeLine + `{"t": 1, "from": "client", "kind": "frame", "hex": null}`, `member "hex" is null, want a string`},
		{"character above U+00FF", webSocketLine + `{"t": 1, "from": "client", "kind": "http", "text": "\u0100"}`, `member "text" holds U+0100, want one byte per character`},
		{"long head", webSocketLine + `{"t": 1, "from": "client", "kind": "http", "text": "` + strings.Repeat("h", recording.MaxHead+1) + `"}`, "http of 65537 bytes"},
		{"member twice", nativeLine + `{"t": 1, "t": 1, "from": "client", "kind": "frame", "hex": ""}`, `member "t" occurs twice`},
		{"unknown member", nativeLine + `{"t": 1, "from": "client", "kind": "frame", "hex": "", "port": 1}`, `unknown member "port"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := read(strings.NewReader(tt.file), "x")
			var at *recording.LineError
			if !errors.Is(err, recording.ErrFormat) || !errors.As(err, &at) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ErrFormat with %q", err, tt.want)
			}
		})
	}
}

func TestReaderContinuesAfterInvalidLine(t *testing.T) {
	const good = `{"t": 1, "from": "client", "kind": "frame", "hex": "0c"}`
	rd, err := recording.NewReader(strings.NewReader(nativeLine+good+"\nbad\n"+good), "x")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		e, err := rd.Next()
		if err == io.EOF {
			break
		}
		got = append(got, fmt.Sprintf("%d %x %v", rd.Line(), e.Data, err != nil))
	}
	if want := []string{"2 0c false", "3  true", "4 0c false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReaderLimitsLines(t *testing.T) {
	const good = `{"t": 1, "from": "client", "kind": "frame", "hex": ""}`
	file := nativeLine + strings.Repeat("x", 1<<20) + "\n" + good
	rd, err := recording.NewReader(strings.NewReader(file), "x")
	if err != nil {
		t.Fatal(err)
	}
	rd.LimitLines(200 << 10)
	if _, err := rd.Next(); err == nil || !strings.Contains(err.Error(), "x:2: not a valid recording: the line is longer than") {
		t.Errorf("got %v", err)
	}
	if _, err := rd.Next(); err != nil || rd.Line() != 3 {
		t.Errorf("got %v in line %d, want line 3", err, rd.Line())
	}
}

func TestReadErrorIsNotALineError(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := recording.NewReader(io.MultiReader(strings.NewReader(nativeLine[:10]), failing{broken}), "x")
	if !errors.Is(err, broken) || errors.Is(err, recording.ErrFormat) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestHeadsContainAnyByte(t *testing.T) {
	var head []byte
	for i := range 256 {
		head = append(head, byte(i))
	}
	c := recording.Connection{Name: "a\"\\\u00e9\U0001F600\n", Protocol: recording.WebSocket}
	e := recording.Entry{T: "6.5e-05", From: recording.Client, Kind: recording.KindHTTP, Data: head}
	file := write(t, c, []recording.Entry{e})
	gotConn, got, err := read(bytes.NewReader(file), "x")
	if err != nil || gotConn != c || len(got) != 1 || !bytes.Equal(got[0].Data, head) || got[0].T != e.T {
		t.Errorf("got %+v, %+v, %v", gotConn, got, err)
	}
	if i := bytes.IndexFunc(file, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
		t.Errorf("the file contains the byte %#x, want printable ASCII", file[i])
	}
}

func TestAt(t *testing.T) {
	for d, want := range map[time.Duration]recording.Time{
		0: "0.0", time.Second: "1.0", 1500 * time.Millisecond: "1.5", 65 * time.Microsecond: "0.000065",
		13710820 * time.Microsecond: "13.71082", 10 * time.Second: "10.0",
	} {
		if got := recording.At(d); got != want || got.Duration() != d {
			t.Errorf("At(%v) = %s, which is %v; want %s", d, got, got.Duration(), want)
		}
	}
}

func TestWriterRefusesInvalidEntries(t *testing.T) {
	if _, err := recording.NewWriter(io.Discard, recording.Connection{}); !errors.Is(err, recording.ErrFormat) {
		t.Errorf("no protocol: got %v", err)
	}
	var out bytes.Buffer
	w, err := recording.NewWriter(&out, recording.Connection{Protocol: recording.Native})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []recording.Entry{
		{T: "x", From: recording.Client, Kind: recording.KindFrame},
		{T: "1", From: "nobody", Kind: recording.KindFrame},
		{T: "1", From: recording.Client, Kind: recording.KindText},
		{T: "1", From: recording.Client, Kind: recording.KindFrame, Data: make([]byte, recording.MaxData+1)},
	} {
		if err := w.Write(e); !errors.Is(err, recording.ErrFormat) {
			t.Errorf("%s %s %s: got %v, want ErrFormat", e.T, e.From, e.Kind, err)
		}
	}
	if err := w.Record(recording.Server, recording.KindFrame, []byte{0x0c}); err != nil {
		t.Error(err)
	}
	if err := w.Flush(); err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("got %v and %q", err, out.String())
	}
}

func TestWriterFailsOnce(t *testing.T) {
	full := errors.New("disk full")
	w, err := recording.NewWriter(failing{full}, recording.Connection{Protocol: recording.Native})
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 10<<10)
	if err := w.Record(recording.Client, recording.KindFrame, frame); !errors.Is(err, full) {
		t.Errorf("first entry: got %v, want %v", err, full)
	}
	if err := w.Record(recording.Client, recording.KindFrame, frame); err != nil {
		t.Errorf("second entry: got %v", err)
	}
	if err := w.Flush(); !errors.Is(err, full) {
		t.Errorf("Flush: got %v, want %v", err, full)
	}
}

func TestWriterIsSafeForConcurrentUse(t *testing.T) {
	var out bytes.Buffer
	w, err := recording.NewWriter(&out, recording.Connection{Protocol: recording.WebSocket})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, from := range []recording.Side{recording.Client, recording.Server} {
		wg.Go(func() {
			for range 500 {
				if err := w.Record(from, recording.KindText, []byte("[]")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	_, entries, err := read(&out, "x")
	if err != nil || len(entries) != 1000 {
		t.Fatalf("got %d entries and error %v", len(entries), err)
	}
	if !slices.IsSortedFunc(entries, func(a, b recording.Entry) int { return int(a.T.Duration() - b.T.Duration()) }) {
		t.Error("times do not ascend")
	}
}

func FuzzReader(f *testing.F) {
	for _, name := range recordings(f)[:8] {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file[:min(len(file), 2000)])
	}
	f.Add([]byte(nativeLine + `{"t": 1e-5, "from": "client", "kind": "frame", "hex": "0C"}`))
	f.Add([]byte(webSocketLine + `{"kind":"http","text":"\u00e9\/","from":"server","t":0}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		c, entries, err := read(bytes.NewReader(file), "x")
		if err != nil {
			if !errors.Is(err, recording.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		once := write(t, c, entries)
		c, entries, err = read(bytes.NewReader(once), "y")
		if err != nil {
			t.Fatal(err)
		}
		if twice := write(t, c, entries); !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q", once, twice)
		}
	})
}

func TestReadFileFails(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte(nativeLine+"bad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var line *recording.LineError
	if _, _, err := recording.ReadFile(bad); !errors.As(err, &line) || line.Line != 2 || line.File != bad {
		t.Errorf("invalid file: %v", err)
	}
	if _, _, err := recording.ReadFile(bad + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestAddressesArePreserved(t *testing.T) {
	want := recording.Connection{
		Name: "n", Protocol: recording.Native, ServerPort: 2150,
		Client: netip.MustParseAddrPort("10.0.0.1:40000"), Server: netip.MustParseAddrPort("[fe80::1%eth0]:2150"),
	}
	file := write(t, want, []recording.Entry{
		{T: "1", From: recording.Client, Kind: recording.KindFrame, Data: []byte("abc")},
		{T: "2", From: recording.Client, Kind: recording.KindFrame},
		{T: "3", From: recording.Client, Kind: recording.KindFrame, Data: []byte("d")},
	})
	got, entries, err := read(bytes.NewReader(file), "f")
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if entries[0].Offset != 0 || entries[1].Offset != 7 || entries[2].Offset != 11 {
		t.Errorf("got %+v", entries)
	}
	if err := got.Broken(entries[2], io.EOF); err.Error() != "broken frame from client 10.0.0.1:40000 to server [fe80::1%eth0]:2150 at offset 11, first bytes 0000000164: EOF" {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{`1`, `"10.0.0.1"`, `"host:1"`} {
		_, _, err := read(strings.NewReader(`{"connection": {"name": "n", "protocol": "native", "server_port": 1, "client": `+address+`}}`), "f")
		if !errors.Is(err, recording.ErrFormat) {
			t.Errorf("client %s: got %v", address, err)
		}
	}
}
