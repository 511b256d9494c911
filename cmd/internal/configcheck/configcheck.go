// Package configcheck checks cluster files without a controller, and finds the lines
// of a file to which errors belong.
package configcheck

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// Finding is an error or a warning about a file.
type Finding struct {
	*configparser.Error
	Severity string // Error or Warning
}

// The severities.
const (
	Error   = "error"
	Warning = "warning"
)

// String returns the finding with its place.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s: %s", f.Place(), f.Severity, f.Text)
}

// Find returns the errors and warnings about a file, in the order of its lines. It is
// given the results of clusterfile.Parse or clusterfile.ParseJSON. The returned
// configuration is empty if the file is no cluster file.
func Find(name string, text []byte, extended bool, config zeekapi.Configuration, warnings configparser.Errors, err error) (zeekapi.Configuration, []Finding) {
	if foreign := clusterfile.Foreign(name, text); foreign != nil {
		config, warnings, err = zeekapi.Configuration{}, nil, foreign
	}
	var errs configparser.Errors
	switch {
	case errors.As(err, &errs):
	case err != nil:
		errs.Add(&configparser.Error{File: name, Text: err.Error()})
	default:
		places := NewLocator(name, text, extended)
		var refused []*configparser.Error
		for _, text := range controller.DefaultSettings().Check(config) {
			e := places.LocateText(text)
			e.Text = text
			refused = append(refused, e)
		}
		refused = append(refused, places.LocateAll(slices.Concat(clusterfile.Announcements(config), clusterfile.Refusals(config)))...)
		for _, e := range places.Merged(refused) {
			errs.Add(e)
		}
		for _, e := range places.Merged(places.LocateAll(clusterfile.Advise(config))) {
			warnings.Add(e)
		}
	}
	return config, byLine(errs, warnings)
}

// byLine merges errors and warnings, which are sorted by line.
func byLine(errs, warnings configparser.Errors) []Finding {
	var found []Finding
	for len(errs)+len(warnings) > 0 {
		if len(warnings) == 0 || len(errs) > 0 && errs[0].Line <= warnings[0].Line {
			found, errs = append(found, Finding{errs[0], Error}), errs[1:]
		} else {
			found, warnings = append(found, Finding{warnings[0], Warning}), warnings[1:]
		}
	}
	return found
}

// Locator finds the line of a cluster file to which an error or a warning
// belongs. NewLocator creates it.
type Locator struct {
	Name   string // of the file
	Places *clusterfile.Places
}

// NewLocator returns the locator for the text of a file. If extended is true, short
// forms are expanded, see clusterfile.Options.Extended.
func NewLocator(name string, text []byte, extended bool) *Locator {
	return &Locator{name, clusterfile.FindPlaces(text, extended)}
}

// Locate returns an error without a text at the line of a key of a node, of a
// node, or of an instance. If the file does not have it, the error has no line.
func (f Locator) Locate(node, instance, key string) *configparser.Error {
	e := &configparser.Error{File: f.Name}
	switch {
	case node == "" && instance != "" && f.Places.Instance(instance) > 0:
		e.Section, e.Key, e.Line = "instances", instance, f.Places.Instance(instance)
	case node != "" && f.Places.Node(node, key) > 0:
		e.Section, e.Key, e.Line = node, key, f.Places.Node(node, key)
	case node != "" && f.Places.Node(node, "") > 0:
		e.Section, e.Line = node, f.Places.Node(node, "")
	}
	return e
}

// LocateAll returns advice as errors at their lines.
func (f Locator) LocateAll(all []clusterfile.Advice) []*configparser.Error {
	var located []*configparser.Error
	for _, a := range all {
		e := f.Locate(a.Node, a.Instance, a.Key)
		e.Text = a.Text
		located = append(located, e)
	}
	return located
}

// varying matches the parts in which errors about nodes of one section differ: quoted
// names, and numbers.
var varying = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"[^"]*"|'[^']*'|[\w.:-]*[0-9]`) })

// Merged combines errors that differ only in the node, if one section of the file defines
// the nodes. The first of these errors remains, with the number of the others.
func (f Locator) Merged(all []*configparser.Error) []*configparser.Error {
	type kind struct {
		section, text string
		line          int
	}
	first := map[kind]*configparser.Error{}
	more := map[*configparser.Error]int{}
	var result []*configparser.Error
	for _, e := range all {
		if section := f.Places.Section(e.Section); section != "" {
			k := kind{section, varying().ReplaceAllString(e.Text, ""), e.Line}
			if first[k] != nil {
				more[first[k]]++
				continue
			}
			first[k] = e
		}
		result = append(result, e)
	}
	for e, n := range more {
		e.Text += fmt.Sprintf(" (and the same for %s of [%s])", moreNodes(n), f.Places.Section(e.Section))
	}
	return result
}

// LocateText returns an error without a text at the line to which an error text of
// the controller belongs. These texts have names in quotes, followed by the key.
func (f Locator) LocateText(text string) *configparser.Error {
	key := ""
	switch {
	case strings.Contains(text, "' port "):
		key = "port"
	case strings.Contains(text, "' metrics port "):
		key = "metrics_port"
	case strings.Contains(text, "undeclared instance"):
		key = "instance"
	}
	for i, name := range strings.Split(text, "'") {
		if i%2 == 0 || name == "" {
			continue
		}
		if e := f.Locate(name, "", key); e.Line > 0 {
			return e
		}
		if e := f.Locate("", name, ""); e.Line > 0 {
			return e
		}
	}
	return &configparser.Error{File: f.Name}
}

func moreNodes(n int) string {
	if n == 1 {
		return "1 more node"
	}
	return fmt.Sprintf("%d more nodes", n)
}
