package decode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/cmd/internal/decode"
)

var update = flag.Bool("update", false, "update the golden files")

// inRecordings changes to the folder of the recordings, so that the output
// contains the same file names on every machine.
func inRecordings(t *testing.T) { t.Chdir("../../../testdata/recordings") }

func run(t testing.TB, o decode.Options, stdin string, files ...string) (out, errOut string, err error) {
	t.Helper()
	var o1, o2 bytes.Buffer
	err = decode.Run(files, strings.NewReader(stdin), &o1, &o2, o)
	return o1.String(), o2.String(), err
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%.3000s", file, diff)
	}
}

// wantRoundTrips is the result for all recordings and the capture. The frames that
// are equal but spelled differently are the same JSON, with other spaces, escapes or
// orders of members.
const wantRoundTrips = "130 files, 2199 frames: 2075 identical, 124 equal but spelled differently"

func TestEveryRecordingRoundTrips(t *testing.T) {
	inRecordings(t)
	files, err := filepath.Glob("*/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	files = append(files, "zeek-8.0.10-types/session.pcap")
	out, errOut, err := run(t, decode.Options{Check: true}, "", files...)
	if err != nil || errOut != "" {
		t.Errorf("got %v\n%.2000s", err, errOut)
	}
	if got := strings.TrimSpace(out); got != wantRoundTrips {
		t.Errorf("got  %s\nwant %s", got, wantRoundTrips)
	}
}

func TestGolden(t *testing.T) {
	inRecordings(t)
	for name, file := range map[string]string{
		"native":           "zeek-8.0.10-types/native-01.jsonl",
		"broker-websocket": "zeek-8.0.10-types/broker-websocket-01.jsonl",
		"zeek-websocket":   "zeek-8.0.10-types/zeek-websocket-01.jsonl",
		"node":             "zeek-8.0.10-management/node-agent-05.jsonl",
	} {
		t.Run(name, func(t *testing.T) {
			out, errOut, err := run(t, decode.Options{}, "", file)
			if err != nil || errOut != "" {
				t.Errorf("got %v\n%s", err, errOut)
			}
			golden(t, "../golden/decode/"+name+".txt", out)

			out, errOut, err = run(t, decode.Options{JSON: true, Check: true}, "", file)
			if err != nil || !strings.HasPrefix(errOut, "1 file, ") {
				t.Errorf("JSON: got %v\n%s", err, errOut)
			}
			golden(t, "../golden/decode/"+name+".json", out)
		})
	}
}

// lines returns the lines that describe frames.
func lines(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, " ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestCaptureMatchesRecordings(t *testing.T) {
	inRecordings(t)
	captured, _, err := run(t, decode.Options{}, "", "zeek-8.0.10-types/session.pcap")
	if err != nil {
		t.Fatal(err)
	}
	recorded, _, err := run(t, decode.Options{}, "", "zeek-8.0.10-types/broker-websocket-01.jsonl",
		"zeek-8.0.10-types/zeek-websocket-01.jsonl", "zeek-8.0.10-types/native-01.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(lines(recorded), lines(captured)); diff != "" {
		t.Errorf("(-recorded +captured):\n%.2000s", diff)
	}
	if !strings.HasPrefix(captured, "zeek-8.0.10-types/session.pcap: 127.0.0.1:44438 -> 127.0.0.1:19997 (websocket, server port 19997)\n") {
		t.Errorf("got %.200s", captured)
	}
}

// otherPackages matches errors of other packages, whose wording these tests do
// not check.
var otherPackages = regexp.MustCompile(`(bin|wire|jsonv1|pcap): .*`)

// TestMalformed decodes the files of testdata/malformed. Each has a different
// error.
func TestMalformed(t *testing.T) {
	t.Chdir("testdata/malformed")
	files, err := filepath.Glob("*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	var all strings.Builder
	for _, o := range []decode.Options{{}, {Check: true}, {JSON: true}} {
		for _, file := range append(files, "no-such-file") {
			out, errOut, err := run(t, o, "", file)
			if !errors.Is(err, decode.ErrProblems) && !(file == "refused.jsonl" || file == "trailing.jsonl" && !o.Check) {
				t.Errorf("%s: got %v, want ErrProblems", file, err)
			}
			if o.JSON {
				checkJSON(t, out)
				continue
			}
			all.WriteString(out + errOut)
		}
	}
	golden(t, "../malformed.golden", otherPackages.ReplaceAllString(all.String(), "$1: ..."))
}

func checkJSON(t *testing.T, out string) {
	t.Helper()
	if !utf8.ValidString(out) {
		t.Errorf("JSON is not UTF-8: %q", out)
	}
	for line := range strings.Lines(out) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %q", line)
		}
	}
}

func TestAllProblemsOfAllFiles(t *testing.T) {
	const first = `{"connection": {"name": "n", "protocol": "native", "server_port": 9999}}` + "\n"
	const probe = `{"t": 0, "from": "server", "kind": "frame", "hex": "075a45454b"}` + "\n"
	const long = `{"t": 0, "from": "server", "kind": "frame", "hex": "075a45454b00"}` + "\n"
	out, errOut, err := run(t, decode.Options{Check: true}, first+"x\n"+probe+long, "missing-1", decode.Stdin, "missing-2")
	if !errors.Is(err, decode.ErrProblems) {
		t.Errorf("got %v", err)
	}
	for i, want := range []string{
		"open missing-1: no such file or directory",
		`stdin:2: not a valid recording: not a JSON object: "x"`,
		"stdin:4: handshake message differs from byte 5 of 6 on: 00, re-encoded ends",
		"open missing-2: no such file or directory",
	} {
		if got := strings.Split(errOut, "\n")[i]; got != want {
			t.Errorf("problem %d is %q, want %q", i, got, want)
		}
	}
	if want := "3 files, 2 frames, 4 problems\n"; out != want {
		t.Errorf("got summary %q, want %q", out, want)
	}
}

func TestCaptureProblems(t *testing.T) {
	inRecordings(t)
	file, err := os.ReadFile("zeek-8.0.10-types/session.pcap")
	if err != nil {
		t.Fatal(err)
	}
	_, errOut, err := run(t, decode.Options{}, string(file[:len(file)-30]), decode.Stdin)
	if !errors.Is(err, decode.ErrProblems) || !strings.HasPrefix(errOut, "stdin: pcap: not a usable capture: ") {
		t.Errorf("got %v\n%s", err, errOut)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestOutputFails(t *testing.T) {
	inRecordings(t)
	for _, o := range []decode.Options{{}, {JSON: true}, {Check: true}} {
		err := decode.Run([]string{"zeek-8.0.10-types/native-01.jsonl"}, nil, brokenPipe{}, io.Discard, o)
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

// FuzzFrames decodes arbitrary data of every kind.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		"", "\x0c", "\x07ZEEK", "[]", `["a"]`, `{"type":"ack","endpoint":"\v","version":"x"}`,
		`{"topic":"t","@data-type":"enum-value","data":"\u001b"}`, "\x03\xe8bye", "GET / HTTP/1.1\r\n\r\n",
		strings.Repeat("\x00", 32) + "\x01\x00\x10\x00\x01t\x0b\x03\x1b[m",
	} {
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, server bool) {
		from := recording.Client
		if server {
			from = recording.Server
		}
		for _, kinds := range [][]recording.Kind{
			{recording.KindFrame},
			{recording.KindHTTP, recording.KindText, recording.KindBinary, recording.KindPing, recording.KindPong, recording.KindClose},
		} {
			c := recording.Connection{Name: "n", Protocol: recording.WebSocket}
			if kinds[0] == recording.KindFrame {
				c.Protocol = recording.Native
			}
			var file bytes.Buffer
			w, err := recording.NewWriter(&file, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range kinds {
				w.Record(from, k, data)
			}
			if c.Protocol == recording.Native {
				w.Record(from, recording.KindFrame, []byte("\x0c"))
				w.Record(from, recording.KindFrame, data)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			for _, o := range []decode.Options{{}, {JSON: true, Check: true}} {
				out, errOut, err := run(t, o, file.String(), decode.Stdin)
				if err != nil && !errors.Is(err, decode.ErrProblems) {
					t.Fatal(err)
				}
				for _, r := range out + errOut {
					if r != '\n' && !unicode.IsPrint(r) {
						t.Fatalf("prints %q of %q", r, out+errOut)
					}
				}
				if o.JSON {
					for line := range strings.Lines(out) {
						if !json.Valid([]byte(line)) {
							t.Fatalf("not JSON: %q", line)
						}
					}
				}
			}
		}
	})
}
