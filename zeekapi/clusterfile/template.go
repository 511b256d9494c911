package clusterfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// variables are the variables of a template and their values.
type variables map[string]string

// substitute replaces the variables in a text, written as ${name}. A backslash before
// ${ makes it literal. The backslash is removed.
func (v variables) substitute(text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(before)
			return b.String(), nil
		}
		if literal, ok := strings.CutSuffix(before, `\`); ok {
			b.WriteString(literal + "${")
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := v[name]
		switch {
		case !closed:
			return "", errors.New(`"${" without "}"; write "\${" for these characters`)
		case !known && len(v) == 0:
			return "", fmt.Errorf("there are no variables here, and so no ${%s}; write \"\\${\" for the characters \"${\"", name)
		case !known:
			return "", fmt.Errorf("there is no variable ${%s} here, only %s; write \"\\${\" for the characters \"${\"",
				name, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
		}
		b.WriteString(before + value)
		text = after
	}
}
