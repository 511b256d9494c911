package clusterfile

import (
	"bytes"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Places says in which lines of a file things are.
type Places map[place]int

// place is a key of a section. In JSON nodes are sections, too, as are all
// instances together, whose names are keys.
type place struct{ section, key string }

// FindPlaces finds out where things are in the text of a file, INI or JSON.
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

// Node returns the line of a node's key, and 0 if the file does not have it;
// that of the node itself for an empty key.
func (p Places) Node(name, key string) int { return p[place{name, strings.ToLower(key)}] }

// Instance returns the line of an instance, and 0 if the file does not have it.
func (p Places) Instance(name string) int { return p.Node(instancesSection, name) }
