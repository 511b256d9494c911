package broker

import (
	"slices"
	"strings"
)

// ControlTopic is the topic of envelopes that peers exchange about the peering
// itself (Broker: topic::reserved).
const ControlTopic = "<$>"

// MaxTopicLen is the largest length of a topic in bytes: an envelope holds it
// in 16 bits.
const MaxTopicLen = 1<<16 - 1

// Filter is a set of topic prefixes: what a peer wants to receive. It is
// sorted and minimal, as Broker keeps it: no entry is a prefix of another
// (Broker: filter_type). NewFilter makes it so of what may not be, such as a
// filter that a peer sent.
type Filter []string

// NewFilter returns the minimal filter for prefixes. It does not change its
// argument.
func NewFilter(prefixes ...string) Filter {
	sorted := slices.Sorted(slices.Values(prefixes))
	var f Filter
	for _, p := range sorted {
		// What a prefix covers follows it directly in bytewise order.
		if n := len(f); n == 0 || !strings.HasPrefix(p, f[n-1]) {
			f = append(f, p)
		}
	}
	return f
}

// fewPrefixes are faster to try one by one than to search.
const fewPrefixes = 8

// Matches reports whether some entry of f is a prefix of topic. The empty
// entry matches everything, the empty filter nothing.
func (f Filter) Matches(topic string) bool {
	if len(f) <= fewPrefixes {
		for _, p := range f {
			if strings.HasPrefix(topic, p) {
				return true
			}
		}
		return false
	}
	// A prefix of topic comes before it, and everything between the two begins
	// with that prefix. So in a minimal filter it can only be the entry before.
	i, found := slices.BinarySearch(f, topic)
	return found || i > 0 && strings.HasPrefix(topic, f[i-1])
}

// Equal reports whether f and g have the same entries.
func (f Filter) Equal(g Filter) bool { return slices.Equal(f, g) }
