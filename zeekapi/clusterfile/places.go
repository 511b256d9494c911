package clusterfile

import (
	"bytes"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Places maps the nodes, instances and keys of a file to their lines. It is
// created by FindPlaces.
type Places map[place]int

// place is a key of a section. In a JSON file, each node is a section, and so
// is the list of instances, whose keys are the names.
type place struct{ section, key string }

// FindPlaces returns the places in the text of an INI or JSON file.
func FindPlaces(text []byte) Places {
	if IsJSON(text) {
		p := newJSONParser("", text, Options{})
		if p.valid() {
			p.configuration()
		}
		return p.places
	}
	places := Places{}
	file, err := configparser.Read("", bytes.NewReader(text))
	if err != nil {
		return places
	}
	for _, s := range file.Sections {
		places.add(s.Name, "", s.Line)
		for _, o := range s.Options {
			places.add(s.Name, o.Key, o.Line)
		}
	}
	return places
}

func (p Places) add(section, key string, line int) { p[place{section, strings.ToLower(key)}] = line }

// Node returns the line of a node's key, or of the node itself if key is
// empty. It returns 0 if the file does not contain it.
func (p Places) Node(name, key string) int { return p[place{name, strings.ToLower(key)}] }

// Instance returns the line of an instance, or 0 if the file does not contain
// it.
func (p Places) Instance(name string) int { return p.Node(instancesSection, name) }
