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
	written map[string]string // names of sections that describe several nodes, by node
}

// place is a key of a section. In a JSON file, each node is a section, and so
// is the list of instances, whose keys are the names.
type place struct{ section, key string }

// FindPlaces returns the places in the text of an INI or JSON file. If extended is true,
// short forms are expanded, see Options.Extended.
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

// addDerived adds one of several nodes that a section describes. It does nothing if p is
// nil.
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

// Section returns the name of the section that describes a node together with others, or
// "" if the node has a section of its own.
func (p *Places) Section(node string) string { return p.written[node] }

// fieldKeys maps fields of a zeekapi.Diff to the keys that set them, if there are several.
var fieldKeys = map[string][]string{
	"scripts": {"scripts", "args", "networks", "backend"},
	"options": {"groups", zeekapi.OptionLogExpiry, zeekapi.OptionMemoryLimit},
}

// Change returns the line that causes a change in a zeekapi.Diff: that of a key of the
// node, of a key of [cluster], or of a group. It returns 0 if it finds none.
func (p *Places) Change(node string, f zeekapi.FieldChange) int {
	keys := fieldKeys[f.Field]
	if keys == nil {
		keys = []string{f.Field}
	}
	for _, word := range differences(f.Old, f.New) {
		for _, section := range []string{node, clusterSection} {
			for _, key := range keys {
				if at := (place{section, key}); p.lines[at] > 0 && sets(key, p.values[at], word) {
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

// differences returns the words that only one of two lists contains, those of the new list
// first.
func differences(before, after string) []string {
	old, now := strings.Fields(before), strings.Fields(after)
	return append(slices.DeleteFunc(slices.Clone(now), func(w string) bool { return slices.Contains(old, w) }),
		slices.DeleteFunc(old, func(w string) bool { return slices.Contains(now, w) })...)
}

// sets reports whether a key with this value gives a node a word: a script, an
// assignment, a variable or an option.
func sets(key, value, word string) bool {
	name, _, _ := strings.Cut(word, "=")
	switch key {
	case "networks":
		return name == networksOption
	case "backend":
		return word == zeekapi.BackendScripts+value
	case zeekapi.OptionLogExpiry, zeekapi.OptionMemoryLimit:
		return name == key
	case "groups":
		group, ok := strings.CutPrefix(word, zeekapi.OptionGroup+"=")
		return ok && slices.Contains(words(value), group)
	}
	return strings.Contains(value, name)
}
