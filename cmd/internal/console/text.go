package console

import (
	"fmt"
	"math"
	"strings"
)

// bytesText returns a number of bytes for people, "" for 0.
func bytesText(n uint64) string {
	if n == 0 {
		return ""
	}
	v, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for v >= 1024 && len(units) > 1 {
		v, units = v/1024, units[1:]
	}
	return significant(v) + " " + units[0]
}

// significant returns a number with about three digits.
func significant(v float64) string {
	switch {
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// cpuText returns CPUs in use in percent of one, "" for 0.
func cpuText(v float64) string {
	if !(v > 0) || math.IsInf(v, 0) {
		return ""
	}
	return fmt.Sprintf("%.0f %%", v*100)
}

// rateText returns a number per second for people, with a prefix for a thousand and more.
func rateText(v float64) string {
	if !(v >= 0) || math.IsInf(v, 0) {
		return ""
	}
	units := []string{"", " k", " M", " G"}
	for v >= 10_000 && len(units) > 1 {
		v, units = v/1000, units[1:]
	}
	if units[0] == "" {
		return fmt.Sprintf("%.0f", v)
	}
	return significant(v) + units[0]
}

// percentText returns a share in percent.
func percentText(v float64) string {
	switch {
	case !(v > 0):
		return "0 %"
	case v < 0.0001:
		return "<0.01 %"
	}
	return significant(math.Round(v*10000)/100) + " %"
}

// countText returns a number with a noun.
func countText(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// short returns the beginning of an ID.
func short(id string) string {
	if len(id) == 36 && strings.Count(id, "-") == 4 {
		return id[:8]
	}
	if r := []rune(id); len(r) > 24 {
		return string(r[:23]) + "…"
	}
	return id
}
