package selection

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// MaxNames limits the names to which a pattern expands.
const MaxNames = 10_000

// maxPattern limits the size of a pattern in bytes, and so the size of the names. Names of
// instances are far shorter.
const maxPattern = 1000

// ranges matches a part of a pattern: numbers and ranges of numbers in brackets.
var ranges = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\]`) })

// IsPattern reports whether a name contains numbers in brackets, as in sensor-[01-40].
func IsPattern(name string) bool { return ranges().MatchString(name) }

// Expand returns the names of a pattern, in order: sensor-[1-3,7] expands to sensor-1,
// sensor-2, sensor-3 and sensor-7. If the first number of a range has a leading zero, all
// have at least its length. With several pairs of brackets, the last numbers change first.
// A name that is no pattern expands to itself. Expand returns an
// error if a range ends before it begins, or if there are more than MaxNames names, or
// more than 1000 bytes of pattern.
func Expand(pattern string) ([]string, error) {
	if len(pattern) > maxPattern && IsPattern(pattern) {
		return nil, fmt.Errorf("a pattern has %d bytes, limit is %d", len(pattern), maxPattern)
	}
	names, rest := []string{""}, pattern
	for {
		at := ranges().FindStringIndex(rest)
		if at == nil {
			return appendToAll(names, rest), nil
		}
		numbers, err := expandRanges(rest[at[0]+1 : at[1]-1])
		if err == nil && len(names)*len(numbers) > MaxNames {
			err = errTooMany
		}
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		var longer []string
		for _, name := range appendToAll(names, rest[:at[0]]) {
			for _, number := range numbers {
				longer = append(longer, name+number)
			}
		}
		names, rest = longer, rest[at[1]:]
	}
}

// errTooMany is the error about too many names.
var errTooMany = fmt.Errorf("it expands to more than %d names", MaxNames)

// appendToAll appends a text to all names.
func appendToAll(names []string, text string) []string {
	for i := range names {
		names[i] += text
	}
	return names
}

// expandRanges returns the numbers of the form 1-3,7.
func expandRanges(text string) ([]string, error) {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			all = append(all, first)
			continue
		}
		from, errFrom := strconv.Atoi(first)
		to, errTo := strconv.Atoi(last)
		switch {
		case errFrom != nil || errTo != nil || to-from >= MaxNames-len(all):
			return nil, errTooMany
		case to < from:
			return nil, fmt.Errorf("range %s ends before it begins", part)
		}
		width := 0
		if first[0] == '0' {
			width = len(first)
		}
		for n := from; n <= to; n++ {
			all = append(all, fmt.Sprintf("%0*d", width, n))
		}
	}
	return all, nil
}
