package tailfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if got, err := Read(name, 5); err != nil || got != nil {
		t.Errorf("without a file: %q, %v", got, err)
	}
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int]string{0: "", 3: "789", 10: "0123456789", 99: "0123456789"} {
		if got, err := Read(name, limit); err != nil || string(got) != want {
			t.Errorf("limit %d: %q, %v, want %q", limit, got, err, want)
		}
	}
	if _, err := Read(t.TempDir(), 5); err == nil {
		t.Error("Read accepts a directory")
	}
}
