package brokertest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// Frame is a frame of a recording.
type Frame struct {
	FromClient bool
	Payload    []byte // without the frame's length
}

// Frames returns the frames of a native recording, and nil for other
// recordings. It serves the packages that cannot use the reader of
// broker/recording because that package imports them.
func Frames(t testing.TB, file string) []Frame {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []Frame
	for d := json.NewDecoder(bytes.NewReader(data)); d.More(); {
		var line struct {
			Connection      struct{ Protocol string }
			From, Kind, Hex string
		}
		if err := d.Decode(&line); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if p := line.Connection.Protocol; p != "" && p != "native" {
			return nil
		}
		if line.Kind == "frame" {
			b, err := hex.DecodeString(line.Hex)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, Frame{line.From == "client", b})
		}
	}
	return all
}
