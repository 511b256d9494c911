package terminal_test

import (
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

func TestKeys(t *testing.T) {
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Skip(err)
	}
	defer ours.Close()
	defer theirs.Close()
	keys, restore := terminal.Keys(theirs)
	if _, err := ours.WriteString("ab"); err != nil {
		t.Fatal(err)
	}
	for _, want := range "ab" {
		if got := <-keys; rune(got) != want {
			t.Errorf("key is %q, want %q", got, want)
		}
	}
	restore()

	// After that, the terminal echoes, and delivers lines.
	if _, err := ours.WriteString("c\n"); err != nil {
		t.Fatal(err)
	}
	echo := make([]byte, 3)
	if n, err := ours.Read(echo); err != nil || !strings.HasPrefix(string(echo[:n]), "c") {
		t.Errorf("echo is %q, %v", echo[:n], err)
	}

	keys, restore = terminal.Keys(strings.NewReader("x"))
	defer restore()
	select {
	case key := <-keys:
		t.Errorf("key %q of a file", key)
	default:
	}
}
