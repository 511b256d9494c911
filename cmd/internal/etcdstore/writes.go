package etcdstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Limits of a transaction. Those of etcd are 1.5 MiB and 128 operations by default. A transaction
// can contain others. etcd limits the sum of its own operations and those of the largest one in it,
// so many more operations fit into one request.
const (
	maxGroup = 60 // operations of a transaction in another one
	maxOps   = maxGroup * maxGroup
	maxBytes = 1 << 20
	partSize = 512 << 10
)

// overhead is the most that an operation takes in a request beside its key and value, in bytes.
const overhead = 40

// edit is a change of a key below the prefix.
type edit struct {
	key   string
	value []byte // nil: the key is removed
}

// partsOf returns the keys of an entry with a value of n bytes.
func partsOf(name string, n int) []string {
	var keys []string
	for i := range max(1, (n+partSize-1)/partSize) {
		keys = append(keys, fmt.Sprintf("entries/%s/%03x", name, i))
	}
	return keys
}

// entryOf returns the name of the entry of which a key is a part.
func entryOf(key string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(key, "entries/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", false
	}
	return rest[:i], true
}

// changes returns the edits that a transaction makes, in the order of their keys.
func (t *transaction) changes() []edit {
	var edits []edit
	for name, value := range t.edits {
		former := t.values[name]
		if former == nil && value == nil {
			continue
		}
		var kept []string
		if value != nil {
			kept = partsOf(name, len(value))
			for i, key := range kept {
				edits = append(edits, edit{key, value[i*partSize : min(len(value), (i+1)*partSize)]})
			}
		}
		if former != nil {
			parts := partsOf(name, len(former))
			for _, key := range parts[min(len(kept), len(parts)):] {
				edits = append(edits, edit{key: key})
			}
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return strings.Compare(a.key, b.key) })
	return edits
}

// batches divides edits into groups, each of which fits into one request.
func (d *database) batches(edits []edit) [][]edit {
	var all [][]edit
	begin, size := 0, 0
	for i, e := range edits {
		n := len(d.prefix) + len(e.key) + len(e.value) + overhead
		if i > begin && (i-begin >= maxOps || size+n > maxBytes) {
			all = append(all, edits[begin:i])
			begin, size = i, 0
		}
		size += n
	}
	return append(all, edits[begin:])
}

// ops returns the operations of a transaction for a batch of edits. If there are many, they are
// in transactions within it.
func (d *database) ops(batch []edit) []clientv3.Op {
	ops := make([]clientv3.Op, len(batch))
	for i, e := range batch {
		if e.value == nil {
			ops[i] = clientv3.OpDelete(d.prefix + e.key)
		} else {
			ops[i] = clientv3.OpPut(d.prefix+e.key, string(e.value))
		}
	}
	if len(ops) <= maxGroup {
		return ops
	}
	var groups []clientv3.Op
	for group := range slices.Chunk(ops, maxGroup) {
		groups = append(groups, clientv3.OpTxn(nil, group, nil))
	}
	return groups
}

var errRedo = errors.New("the record of a large write is damaged")

// encodeEdits returns edits as they are stored below redo.
func encodeEdits(edits []edit) (data []byte) {
	for _, e := range edits {
		data = binary.AppendUvarint(data, uint64(len(e.key)))
		data = append(data, e.key...)
		if e.value == nil {
			data = append(data, 0)
			continue
		}
		data = append(data, 1)
		data = binary.AppendUvarint(data, uint64(len(e.value)))
		data = append(data, e.value...)
	}
	return data
}

// decodeEdits is the reverse of encodeEdits.
func decodeEdits(data []byte) ([]edit, error) {
	text := func() ([]byte, bool) {
		n, used := binary.Uvarint(data)
		if used <= 0 || n > uint64(len(data)-used) {
			return nil, false
		}
		text := data[used : used+int(n)]
		data = data[used+int(n):]
		return text, true
	}
	var edits []edit
	for len(data) > 0 {
		key, ok := text()
		if !ok || len(data) == 0 || data[0] > 1 {
			return nil, errRedo
		}
		e, put := edit{key: string(key)}, data[0] == 1
		if data = data[1:]; put {
			value, ok := text()
			if !ok {
				return nil, errRedo
			}
			e.value = append([]byte{}, value...)
		}
		edits = append(edits, e)
	}
	return edits, nil
}
