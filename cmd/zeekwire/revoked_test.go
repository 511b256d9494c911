package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A list of revoked certificates counts when it changes, and the log has each failure once.
func TestRevokedWatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crl.pem")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour)
	var log bytes.Buffer
	var failure error
	reloads := 0
	w := newRevokedWatch(func() error {
		reloads++
		return failure
	}, zerolog.New(&log), file, "")
	for _, step := range []struct {
		what            string
		change          func()
		reloads, errors int // so far
	}{
		{"the first look", func() { write("a") }, 1, 0},
		{"no change", func() {}, 1, 0},
		{"a change", func() { write("ab") }, 2, 0},
		{"another time", func() { _ = os.Chtimes(file, later, later) }, 3, 0},
		{"another file of the same size and time", func() {
			_ = os.Rename(file, file+".old")
			write("ab")
			_ = os.Chtimes(file, later, later)
		}, 4, 0},
		{"a damaged file", func() { write("damaged"); failure = errors.New("damaged") }, 5, 1},
		{"still damaged", func() {}, 6, 1},
		{"damaged in another way", func() { failure = errors.New("empty") }, 7, 2},
		{"repaired without another time", func() { failure = nil }, 8, 2},
		{"no further change", func() {}, 8, 2},
		{"removed", func() { _ = os.Remove(file); failure = os.ErrNotExist }, 9, 3},
		{"still removed", func() {}, 10, 3},
		{"back", func() { write("ab"); failure = nil }, 11, 3},
		{"at rest", func() {}, 11, 3},
	} {
		step.change()
		w.look()
		if n := strings.Count(log.String(), `"level":"error"`); reloads != step.reloads || n != step.errors {
			t.Errorf("%s: %d reloads, want %d; %d errors in the log, want %d", step.what, reloads, step.reloads, n, step.errors)
		}
	}
}
