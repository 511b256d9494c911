package selection

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Matcher matches names against words. A word is a name, a pattern as for Expand, or a glob
// with *, ? and classes such as [a-c]. It is created by NewMatcher. Its methods must not be
// called concurrently, because Match records the words that match.
type Matcher struct {
	words []string
	used  []bool           // the words that have matched a name
	names map[string][]int // the words that expand to a name
	globs []glob
}

type glob struct {
	text string
	word int
}

// NewMatcher returns a matcher for words. It returns an error if a word is not valid, or
// if all words together expand to more than MaxNames names.
func NewMatcher(words []string) (*Matcher, error) {
	m := &Matcher{words: words, used: make([]bool, len(words)), names: map[string][]int{}}
	total := 0
	for i, word := range words {
		texts, err := Expand(word)
		if total += len(texts); err == nil && total > MaxNames {
			err = fmt.Errorf("%q and the words before expand to more than %d names", word, MaxNames)
		}
		if err != nil {
			return nil, err
		}
		m.names[word] = append(m.names[word], i) // a name may look like a pattern or a glob
		for _, text := range texts {
			switch {
			case !IsGlob(text):
				if text != word {
					m.names[text] = append(m.names[text], i)
				}
			case !validGlob(text):
				return nil, fmt.Errorf("%q is not a valid glob", word)
			default:
				m.globs = append(m.globs, glob{text, i})
			}
		}
	}
	return m, nil
}

// IsGlob reports whether a word has special characters of a glob.
func IsGlob(word string) bool { return strings.ContainsAny(word, `*?[`) }

func validGlob(text string) bool {
	_, err := path.Match(text, "")
	return err == nil && !strings.Contains(text, "/")
}

// Match reports whether a name matches any of the words.
func (m *Matcher) Match(name string) bool {
	matched := false
	for _, i := range m.names[name] {
		matched, m.used[i] = true, true
	}
	for _, g := range m.globs {
		if ok, err := path.Match(g.text, name); ok && err == nil {
			matched, m.used[g.word] = true, true
		}
	}
	return matched
}

// Unused returns the words that have not matched any name, in their order.
func (m *Matcher) Unused() []string {
	var unused []string
	for i, word := range m.words {
		if !m.used[i] && !slices.Contains(unused, word) {
			unused = append(unused, word)
		}
	}
	return unused
}

// CheckGroup returns an error if a name is not valid for a group: it must not need quoting
// on a command line, and must not be a list, a pattern or a glob.
func CheckGroup(name string) error {
	if err := zeekapi.CheckName(name); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	if strings.ContainsAny(name, `,*?[]'`) {
		return fmt.Errorf("group: name %q: want no commas, quotes, brackets and wildcards", name)
	}
	return nil
}
