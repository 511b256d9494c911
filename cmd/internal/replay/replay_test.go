package replay_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/cmd/internal/replay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const folder = "../../../testdata/recordings/zeek-8.0.10-types/"

func TestClientAndServer(t *testing.T) {
	for _, name := range []string{"native-01.jsonl", "broker-websocket-01.jsonl", "zeek-websocket-01.jsonl"} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			done := make(chan error)
			go func() {
				err := replay.Run(t.Context(), folder+name, replay.Options{
					As: recording.Server, Listen: "127.0.0.1:0", Patience: time.Minute}, w)
				w.CloseWithError(err)
				done <- err
			}()
			told := bufio.NewReader(r)
			line, err := told.ReadString('\n')
			address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening at ")
			if err != nil || !ok {
				t.Fatalf("got %q and %v", line, err)
			}
			rest := make(chan string)
			go func() {
				b, _ := io.ReadAll(told)
				rest <- string(b)
			}()
			var out bytes.Buffer
			err = replay.Run(t.Context(), folder+name, replay.Options{
				As: recording.Client, Connect: address, Patience: time.Minute}, &out)
			if err != nil {
				t.Error(err)
			}
			told1, err := <-rest, <-done
			if err != nil {
				t.Error(err)
			}
			for _, s := range []string{told1, out.String()} {
				if !strings.Contains(s, "received ") {
					t.Errorf("got %q", s)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	good := replay.Options{As: recording.Client, Connect: "127.0.0.1:1", Patience: time.Minute}
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	if err := os.WriteFile(bad, []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file string
		options    replay.Options
		want       string
	}{
		{"no side", "", replay.Options{Patience: 1}, `--as "": want client or server`},
		{"client listens", "", replay.Options{As: recording.Client, Listen: "x", Patience: 1}, "--as client: want --connect HOST:PORT"},
		{"server connects", "", replay.Options{As: recording.Server, Connect: "x", Patience: 1}, "--as server: want --listen HOST:PORT"},
		{"no timeout", "", replay.Options{As: recording.Server, Listen: "x"}, "--timeout 0s: want more than 0"},
		{"no file", "missing", good, "open missing"},
		{"no recording", bad, good, "bad.jsonl:1: not a valid recording"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := replay.Run(t.Context(), tt.file, tt.options, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNoConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		done <- replay.Run(ctx, folder+"native-01.jsonl", replay.Options{
			As: recording.Server, Listen: "127.0.0.1:0", Patience: time.Minute}, w)
	}()
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}
