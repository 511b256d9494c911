package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// Text from peers can neither forge lines of the log nor send control sequences
// to a terminal.
func TestLogIsSafe(t *testing.T) {
	for _, format := range []string{"console", "json"} {
		const bad = "a\n2026-01-01 00:00:00 INF staged by=alice\x1b[2J\u009b2J"
		var out bytes.Buffer
		log := (&logSettings{level: "info", format: format}).logger(&out)
		log.Error().Str("node", bad).Strs("instances", []string{bad}).Err(errors.New(bad)).Msg(bad)
		text := out.String()
		if strings.Count(text, "\n") != 1 || strings.Contains(text, "\x1b") || format == "console" && strings.Contains(text, "\u009b") {
			t.Errorf("%s: %q", format, text)
		}
	}
}
