package clusterfile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/internal/substitute"
)

// variables are the variables of a template and their values.
type variables map[string]string

// substitute replaces the variables in a text of at most maxExpanded bytes.
func (v variables) substitute(text string) (string, error) {
	text, err := substitute.Variables(text, maxExpanded, v.value)
	if errors.Is(err, substitute.ErrUnclosed) {
		return "", errors.New(`"${" without "}"; write "\${" for these characters`)
	}
	return text, err
}

func (v variables) value(name string) (string, error) {
	if value, known := v[name]; known {
		return value, nil
	}
	if len(v) == 0 {
		return "", fmt.Errorf("there are no variables here, and so no ${%s}; write \"\\${\" for the characters \"${\"", name)
	}
	return "", fmt.Errorf("there is no variable ${%s} here, only %s; write \"\\${\" for the characters \"${\"",
		name, strings.Join(slices.Sorted(maps.Keys(v)), ", "))
}
