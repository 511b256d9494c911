package bridge

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/zeekwire/zeekwire/broker"
)

func TestSubject(t *testing.T) {
	for topic, want := range map[string]string{
		"zeek/cluster/worker": "zeek.zeek.cluster.worker",
		"/zeek/events":        "zeek.%.zeek.events",
		"zeek.foo":            "zeek.zeek%2Efoo",
		"zeek%2Efoo":          "zeek.zeek%252Efoo",
		"a//b/":               "zeek.a.%.b.%",
		"":                    "zeek.%",
		"*/>":                 "zeek.%2A.%3E",
		"a b\né":              "zeek.a%20b%0A%C3%A9",
	} {
		if got := Subject("zeek", topic); got != want {
			t.Errorf("%q: %s, want %s", topic, got, want)
		}
	}
}

// matches reports whether a pattern of NATS that ends with > includes a subject.
func matches(pattern, subject string) bool {
	return strings.HasPrefix(subject, strings.TrimSuffix(pattern, ">"))
}

// Different topics have different subjects, which are valid, and the patterns of prefixes
// include the subjects of all topics with them.
func TestSubjectProperties(t *testing.T) {
	topics := rapid.StringOf(rapid.SampledFrom([]rune("ab/.*>% é")))
	rapid.Check(t, func(t *rapid.T) {
		a, b := topics.Draw(t, "a"), topics.Draw(t, "b")
		if (a == b) != (Subject("p", a) == Subject("p", b)) {
			t.Fatalf("%q and %q: %s and %s", a, b, Subject("p", a), Subject("p", b))
		}
		for token := range strings.SplitSeq(Subject("p", a), ".") {
			if token == "" || strings.ContainsAny(token, "*> ") {
				t.Fatalf("%q: %s", a, Subject("p", a))
			}
		}
		prefixes := rapid.SliceOfN(topics, 1, 4).Draw(t, "prefixes")
		all := patterns("p", prefixes)
		if filter := broker.NewFilter(prefixes...); filter.Matches(a) {
			found := false
			for _, pattern := range all {
				found = found || matches(pattern, Subject("p", a))
			}
			if !found {
				t.Fatalf("%q does not match %q of %q", a, all, prefixes)
			}
		}
		for i, x := range all {
			for j, y := range all {
				if i != j && matches(x, y) {
					t.Fatalf("%s includes %s", x, y)
				}
			}
		}
	})
}

func TestPatterns(t *testing.T) {
	got := patterns("zeek", []string{"zeek/", "zeek/ev", "/t", "zeek/cluster/x", "other"})
	if diff := cmp.Diff([]string{"zeek.>"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got = patterns("zeek", []string{"zeek/", "/t", "zeek/cluster/x"})
	if diff := cmp.Diff([]string{"zeek.%.>", "zeek.zeek.>"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
