package zeekapi

import (
	"slices"
	"testing"
	"time"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "8G": 8 << 30, "512m": 512 << 20, "7k": 7 << 10, "2T": 2 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		if got, err := ParseMemory(text); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "8GG", "8 G", "-1", "1.5G", "8388608T", "9223372036854775808", "8GiB", "infinity"} {
		if got, err := ParseMemory(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30d": 30 * 24 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0d": 0,
	} {
		if got, err := ParseExpiry(text); got != want || err != nil {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "30", "-1h", "1.5d", "1d12h", "106752d", "30 days"} {
		if got, err := ParseExpiry(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func TestNodeOptions(t *testing.T) {
	n := Node{Name: "w", Options: []Option{
		{OptionGroup, "east"}, {OptionMemoryLimit, "8G"}, {"other", "x"}, {OptionGroup, "fast"}, {OptionLogExpiry, "30"},
	}}
	if got := n.Groups(); !slices.Equal(got, []string{"east", "fast"}) {
		t.Errorf("groups: got %v", got)
	}
	if bytes, set, err := n.MemoryLimit(); bytes != 8<<30 || !set || err != nil {
		t.Errorf("memory limit: got %d, %t, %v", bytes, set, err)
	}
	if _, set, err := n.LogExpiry(); !set || err == nil {
		t.Errorf("log expiry without a unit: got %t, %v, want an error", set, err)
	}
	if _, set, err := (Node{}).MemoryLimit(); set || err != nil {
		t.Errorf("no memory limit: got %t, %v", set, err)
	}
}
