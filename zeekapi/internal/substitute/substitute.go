// Package substitute replaces variables of the form ${name} in texts, by the rules of
// zeek.conf.
package substitute

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnclosed is the error about ${ without }.
var ErrUnclosed = errors.New("'${' without '}'")

// Variables returns text with each ${name} replaced by the value of the variable. A
// backslash before ${ makes these characters literal, and is removed. Values are not
// searched for variables. Variables fails if a variable is not closed, if value returns
// an error, or if the replacements make the text longer than limit bytes. (Zeek:
// substitute_vars)
func Variables(text string, limit int, value func(name string) (string, error)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), nil
		}
		if literal, escaped := strings.CutSuffix(before, `\`); escaped {
			out.WriteString(literal + "${")
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", ErrUnclosed
		}
		replacement, err := value(name)
		if err != nil {
			return "", err
		}
		out.WriteString(before + replacement)
		if out.Len() > limit {
			return "", fmt.Errorf("it becomes longer than %d bytes", limit)
		}
		text = after
	}
}
