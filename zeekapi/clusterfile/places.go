package clusterfile

import (
	"bytes"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Places maps the nodes, instances and keys of a file to their lines. It is
// created by FindPlaces.
type Places struct {
	lines   map[place]int
	values  map[place]string  // of INI files
	written map[string]string // the section that stands for a node and others
}

// place is a key of a section. In a JSON file, each node is a section, and so
// is the list of instances, whose keys are the names.
type place struct{ section, key string }

// FindPlaces returns the places in the text of an INI or JSON file. If extended is true,
// these are the places of nodes and instances for which short forms stand, see
// Options.Extended.
func FindPlaces(text []byte, extended bool) *Places {
	if IsJSON(text) {
		p := newJSONParser("", text, Options{})
		if p.valid() {
			p.configuration()
		}
		return p.places
	}
	places := newPlaces()
	file, err := configparser.Read("", bytes.NewReader(text))
	if err != nil {
		return places
	}
	for _, s := range file.Sections {
		places.addSection(s)
	}
	if extended {
		b := newBuilder(file, Options{Extended: true})
		b.places = places
		b.sections()
	}
	return places
}

func newPlaces() *Places {
	return &Places{lines: map[place]int{}, values: map[place]string{}, written: map[string]string{}}
}

// add adds a place. It does nothing if p is nil.
func (p *Places) add(section, key string, line int) {
	if p != nil {
		p.lines[place{section, strings.ToLower(key)}] = line
	}
}

// addDerived adds a node for which a section stands. It does nothing if p is nil.
func (p *Places) addDerived(node, section *configparser.Section) {
	if p != nil {
		p.addSection(node)
		p.written[node.Name] = section.Name
	}
}

func (p *Places) addSection(s *configparser.Section) {
	p.add(s.Name, "", s.Line)
	for _, o := range s.Options {
		p.add(s.Name, o.Key, o.Line)
		p.values[place{s.Name, o.Key}] = o.Value
	}
}

// Node returns the line of a node's key, or of the node itself if key is
// empty. A key that the node does not have may be one of the section [cluster]. It
// returns 0 if the file does not contain it.
func (p *Places) Node(name, key string) int {
	if line := p.lines[place{name, strings.ToLower(key)}]; line > 0 || key == "" || p.Node(name, "") == 0 {
		return line
	}
	return p.lines[place{clusterSection, strings.ToLower(key)}]
}

// Instance returns the line of an instance, or 0 if the file does not contain
// it.
func (p *Places) Instance(name string) int {
	return p.lines[place{instancesSection, strings.ToLower(name)}]
}

// Section returns the name of the section that stands for a node and for others, "" if
// the node has a section of its own.
func (p *Places) Section(node string) string { return p.written[node] }

// fieldKeys maps the fields of a zeekapi.Diff for which there are several keys to these.
var fieldKeys = map[string][]string{
	"scripts": {"scripts", "args", "networks", "backend"},
	"options": {"groups", zeekapi.OptionLogExpiry, zeekapi.OptionMemoryLimit},
}

// Change returns the line that makes a field of a node differ from what it was, as in a
// zeekapi.Diff: that of a key of the node, of [cluster], or of a group. It returns 0 if
// the file does not say.
func (p *Places) Change(node string, f zeekapi.FieldChange) int {
	keys := fieldKeys[f.Field]
	if keys == nil {
		keys = []string{f.Field}
	}
	for _, word := range differences(f.Old, f.New) {
		for _, section := range []string{node, clusterSection} {
			for _, key := range keys {
				if at := (place{section, key}); p.lines[at] > 0 && says(key, p.values[at], word) {
					return p.lines[at]
				}
			}
		}
		if group, ok := strings.CutPrefix(word, zeekapi.OptionGroup+"="); ok && p.lines[place{groupPrefix + group, ""}] > 0 {
			return p.lines[place{groupPrefix + group, ""}]
		}
	}
	for _, key := range keys {
		if line := p.Node(node, key); line > 0 {
			return line
		}
	}
	return 0
}

// differences returns the words that are in one of two lists, first those of the new one.
func differences(before, after string) []string {
	old, now := strings.Fields(before), strings.Fields(after)
	return append(slices.DeleteFunc(slices.Clone(now), func(w string) bool { return slices.Contains(old, w) }),
		slices.DeleteFunc(old, func(w string) bool { return slices.Contains(now, w) })...)
}

// says reports whether the value of a key is what gives a node a word: a script, an
// assignment, a variable or an option.
func says(key, value, word string) bool {
	name, _, _ := strings.Cut(word, "=")
	switch key {
	case "networks":
		return name == networksOption
	case "backend":
		return word == backendScripts+value
	case zeekapi.OptionLogExpiry, zeekapi.OptionMemoryLimit:
		return name == key
	case "groups":
		group, ok := strings.CutPrefix(word, zeekapi.OptionGroup+"=")
		return ok && slices.Contains(words(value), group)
	}
	return strings.Contains(value, name)
}
