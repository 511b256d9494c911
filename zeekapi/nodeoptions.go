package zeekapi

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The options of a node that zeekwire's programs know. Zeek's controllers and agents
// carry all options and ignore them. Of these options, only OptionCPUAffinity makes a node
// restart.
const (
	// OptionGroup names a group of the node. A node has one such option for each
	// of its groups.
	OptionGroup = "group"

	// OptionMemoryLimit is the memory that the node may use, see ParseMemory.
	OptionMemoryLimit = "memory_limit"

	// OptionLogExpiry is the age at which the node's logs are removed from the
	// archive, see ParseExpiry.
	OptionLogExpiry = "log_expiry"
)

// Groups returns the groups of the node, in the order of its options.
func (n Node) Groups() []string {
	var groups []string
	for _, o := range n.Options {
		if o.Name == OptionGroup {
			groups = append(groups, o.Value)
		}
	}
	return groups
}

// MemoryLimit returns the memory in bytes that the node may use, 0 for no limit. The
// result set is false if the node has no such option.
func (n Node) MemoryLimit() (bytes int64, set bool, err error) {
	return parsedOption(n, OptionMemoryLimit, ParseMemory)
}

// LogExpiry returns the age at which logs of the node expire, 0 for never. The result
// set is false if the node has no such option.
func (n Node) LogExpiry() (age time.Duration, set bool, err error) {
	return parsedOption(n, OptionLogExpiry, ParseExpiry)
}

// parsedOption returns the parsed value of the first option with a name.
func parsedOption[T any](n Node, name string, parse func(string) (T, error)) (value T, set bool, err error) {
	for _, o := range n.Options {
		if o.Name != name {
			continue
		}
		if value, err = parse(o.Value); err != nil {
			err = fmt.Errorf("node %s: %s: %w", n.Name, name, err)
		}
		return value, true, err
	}
	return value, false, nil
}

// memoryUnits maps the suffixes of ParseMemory to bytes.
var memoryUnits = map[string]int64{"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

// ParseMemory parses an amount of memory, such as 8G or 512M, and returns it in bytes.
// The units are K, M, G and T, powers of 1024, in either case. Without a unit, the
// number counts bytes.
func ParseMemory(text string) (bytes int64, err error) {
	digits := strings.TrimRight(text, "kKmMgGtT")
	unit, ok := memoryUnits[strings.ToLower(text[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 63)
	if !ok || err != nil || int64(n) > math.MaxInt64/unit {
		return 0, fmt.Errorf("memory %q: want a number of bytes, or one with a unit, such as 8G or 512M", text)
	}
	return int64(n) * unit, nil
}

// day is the unit d of ParseExpiry.
const day = 24 * time.Hour

// ParseExpiry parses an age, such as 30d or 12h. In addition
// to the units of time.ParseDuration there is d, a day of 24 hours, for whole days. An
// age of 0 means never.
func ParseExpiry(text string) (age time.Duration, err error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 31)
		if err == nil && time.Duration(n) <= math.MaxInt64/day {
			return time.Duration(n) * day, nil
		}
	} else if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return age, nil
	}
	return 0, fmt.Errorf("age %q: want a time such as 30d or 12h, or 0 for never", text)
}
