package etcdstore

import (
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
)

// maxEntry is the size of the largest entry in bytes, without compression.
const maxEntry = 256 << 20

// mirror is a copy of the entries in etcd. Values are compressed.
type mirror struct {
	values map[string][]byte   // by name
	names  map[string][]string // by bucket, sorted
}

func newMirror() *mirror {
	return &mirror{values: make(map[string][]byte), names: make(map[string][]string)}
}

// nameOf returns the name of an entry. Names of a bucket are in the order of their keys.
func nameOf(bucket, key []byte) string { return string(bucket) + "/" + hex.EncodeToString(key) }

func bucketOf(name string) string {
	bucket, _, _ := strings.Cut(name, "/")
	return bucket
}

// set sets or, with nil, removes a value.
func (m *mirror) set(name string, value []byte) {
	bucket := bucketOf(name)
	i, found := slices.BinarySearch(m.names[bucket], name)
	switch {
	case value == nil && found:
		m.names[bucket] = slices.Delete(m.names[bucket], i, i+1)
	case value != nil && !found:
		m.names[bucket] = slices.Insert(m.names[bucket], i, name)
	}
	if value == nil {
		delete(m.values, name)
	} else {
		m.values[name] = value
	}
}

// transaction collects changes to a mirror. It implements controller.Entries.
type transaction struct {
	*mirror
	edits map[string][]byte   // by name, nil: removed
	names map[string][]string // by bucket, if names were added or removed
}

func (m *mirror) begin() *transaction {
	return &transaction{mirror: m, edits: make(map[string][]byte), names: make(map[string][]string)}
}

// apply makes the changes.
func (t *transaction) apply() {
	maps.Copy(t.mirror.names, t.names)
	for name, value := range t.edits {
		if value == nil {
			delete(t.values, name)
		} else {
			t.values[name] = value
		}
	}
}

// Get implements controller.Entries. The value of a damaged entry is empty.
func (t *transaction) Get(bucket, key []byte) []byte { return t.get(nameOf(bucket, key)) }

func (t *transaction) get(name string) []byte {
	packed, edited := t.edits[name]
	if !edited {
		packed = t.values[name]
	}
	if packed == nil {
		return nil
	}
	if n, err := s2.DecodedLen(packed); err != nil || n > maxEntry {
		return []byte{}
	}
	value, err := s2.Decode(nil, packed)
	if err != nil || value == nil {
		return []byte{}
	}
	return value
}

// Put implements controller.Entries.
func (t *transaction) Put(bucket, key, value []byte) error {
	name := nameOf(bucket, key)
	t.list(name, true)
	t.edits[name] = s2.EncodeBetter(nil, value)
	return nil
}

// Delete implements controller.Entries.
func (t *transaction) Delete(bucket, key []byte) error {
	name := nameOf(bucket, key)
	t.list(name, false)
	t.edits[name] = nil
	return nil
}

// list adds or removes a name.
func (t *transaction) list(name string, in bool) {
	bucket := bucketOf(name)
	names, own := t.names[bucket]
	if !own {
		names = t.mirror.names[bucket]
	}
	i, found := slices.BinarySearch(names, name)
	if found == in {
		return
	}
	if !own {
		names = slices.Clone(names)
	}
	if in {
		names = slices.Insert(names, i, name)
	} else {
		names = slices.Delete(names, i, i+1)
	}
	t.names[bucket] = names
}

// All implements controller.Entries.
func (t *transaction) All(bucket []byte) iter.Seq2[[]byte, []byte] {
	names, own := t.names[string(bucket)]
	if !own {
		names = t.mirror.names[string(bucket)]
	}
	return func(yield func(key, value []byte) bool) {
		for _, name := range names {
			key, err := hex.DecodeString(name[len(bucket)+1:])
			if err != nil {
				key = []byte(name[len(bucket)+1:]) // not of a controller; its checksum is wrong
			}
			if !yield(key, t.get(name)) {
				return
			}
		}
	}
}
