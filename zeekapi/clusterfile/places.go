package clusterfile

import (
	"bytes"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Places maps the nodes, instances and keys of a file to their lines. It is
// created by FindPlaces.
type Places struct {
	lines   map[place]int
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

func newPlaces() *Places { return &Places{lines: map[place]int{}, written: map[string]string{}} }

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
