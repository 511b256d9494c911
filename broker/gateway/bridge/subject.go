package bridge

import (
	"fmt"
	"slices"
	"strings"
)

// Subject returns the subject of the messages of a topic. The parts of the topic, which
// slashes separate, are tokens of the subject. These bytes of a part are written as % and two
// hexadecimal digits: ".", "*", ">", "%", spaces, control characters, and all bytes that are
// not ASCII. An empty part is "%". So different topics have different subjects:
//
//	zeek/cluster/worker  zeek.zeek.cluster.worker
//	/zeek/events         zeek.%.zeek.events
//	zeek.foo             zeek.zeek%2Efoo
func Subject(prefix, topic string) string {
	b := make([]byte, 0, len(prefix)+len(topic)+8)
	b = append(b, prefix...)
	for part := range strings.SplitSeq(topic, "/") {
		b = appendToken(append(b, '.'), part)
	}
	return string(b)
}

func appendToken(b []byte, part string) []byte {
	if part == "" {
		return append(b, '%')
	}
	for i := range len(part) {
		switch c := part[i]; {
		case c <= ' ' || c >= 0x7f || strings.IndexByte(".*>%", c) >= 0:
			b = fmt.Appendf(b, "%%%02X", c)
		default:
			b = append(b, c)
		}
	}
	return b
}

// patterns returns the subjects that include those of all topics with the given prefixes. A
// prefix may end within a part of a topic, so they may include further topics. None of the
// patterns includes another one, as NATS requires.
func patterns(prefix string, topics []string) []string {
	var all []string
	for _, topic := range topics {
		pattern := prefix
		if end := strings.LastIndexByte(topic, '/'); end >= 0 {
			pattern = Subject(prefix, topic[:end])
		}
		all = append(all, pattern+".>")
	}
	slices.SortFunc(all, func(a, b string) int { return len(a) - len(b) })
	var kept []string
	for _, pattern := range all {
		if !slices.ContainsFunc(kept, func(other string) bool { return strings.HasPrefix(pattern, strings.TrimSuffix(other, ">")) }) {
			kept = append(kept, pattern)
		}
	}
	return kept
}

// checkPrefix returns an error unless a prefix is one or more plain tokens.
func checkPrefix(prefix string) error {
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || string(appendToken(nil, token)) != token || strings.HasPrefix(token, "$") {
			return fmt.Errorf("bridge: the prefix %.80q of subjects is not valid: want a name such as zeek, or several with dots in between", prefix)
		}
	}
	return nil
}
