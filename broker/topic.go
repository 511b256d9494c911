package broker

import (
	"slices"
	"strings"
)

// ControlTopic is the topic of envelopes that concern the peering itself, such
// as pings (Broker: topic::reserved).
const ControlTopic = "<$>"

// MaxTopicLen is the maximum length of a topic in bytes. An envelope stores
// the length in 16 bits.
const MaxTopicLen = 1<<16 - 1

// Filter is a set of topic prefixes, usually the subscriptions of a peer. The
// zero Filter matches no topic. Like Broker's filters it is sorted and
// minimal: no entry is a prefix of another (Broker: filter_type). NewFilter
// establishes this order for prefixes from other sources, such as a filter
// received from a peer.
type Filter []string

// NewFilter returns the minimal filter for prefixes, which it does not modify.
func NewFilter(prefixes ...string) Filter {
	sorted := slices.Sorted(slices.Values(prefixes))
	var f Filter
	for _, p := range sorted {
		// In bytewise order, the strings that begin with a prefix follow it
		// directly.
		if n := len(f); n == 0 || !strings.HasPrefix(p, f[n-1]) {
			f = append(f, p)
		}
	}
	return f
}

// fewPrefixes is the number of prefixes up to which a linear scan is faster
// than a binary search.
const fewPrefixes = 8

// Matches reports whether an entry of f is a prefix of topic. An empty entry
// matches every topic.
func (f Filter) Matches(topic string) bool {
	if len(f) <= fewPrefixes {
		for _, p := range f {
			if strings.HasPrefix(topic, p) {
				return true
			}
		}
		return false
	}
	// A prefix of topic sorts before topic, and every string between the two
	// begins with that prefix. In a minimal filter, only the entry directly
	// before topic can be a prefix.
	i, found := slices.BinarySearch(f, topic)
	return found || i > 0 && strings.HasPrefix(topic, f[i-1])
}

// Equal reports whether f and g have the same entries.
func (f Filter) Equal(g Filter) bool { return slices.Equal(f, g) }
