package controller

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"iter"
	"slices"
	"strconv"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// The buckets of the entries. Every value, except those of "meta", is a checksum of
// bucket, key and encoding, followed by the binary encoding of a record. "meta" has
// a sum of all these checksums, which detects missing entries.
var (
	bucketMeta    = []byte("meta")
	bucketConfigs = []byte("configs") // by slot
	bucketHistory = []byte("history") // by number
	bucketEvents  = []byte("notices") // by number; named as in the first version of the format
	bucketDrained = []byte("drained") // by hash of the name
	bucketOwed    = []byte("owed")    // by hash of the name
	bucketLast    = []byte("last")    // the last job, and the identity of the configuration sent last

	buckets = [][]byte{bucketConfigs, bucketHistory, bucketEvents, bucketDrained, bucketOwed, bucketLast}

	keySchema   = []byte("schema")
	keyChecksum = []byte("checksum")
	keyJob      = []byte("job")
	keySent     = []byte("sent")
	keyTerm     = []byte("term")
)

// schema is the version of this format. Schema 1 of files had only configurations, without
// checksums, and its target contained addresses.
const schema = "2"

func keyOf(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

func keyOfName(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func checksum(bucket, key, data []byte) uint64 {
	table := crc64.MakeTable(crc64.ECMA) // made once, when first needed
	sum := crc64.Update(0, table, bucket)
	sum = crc64.Update(sum, table, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	sum = crc64.Update(sum, table, key)
	return crc64.Update(sum, table, data)
}

// Entries are the entries of a key-value database in which a Store keeps a State, within
// one transaction. PrepareEntries, ReadEntries, WriteChanges and WriteState use them. Keys
// and values are opaque. A bucket is a name space of keys, and exists without being created.
type Entries interface {
	// Get returns the value of a key, nil if there is none. The caller does not change it,
	// and does not use it after the next change.
	Get(bucket, key []byte) []byte

	// Put sets the value of a key.
	Put(bucket, key, value []byte) error

	// Delete removes a key.
	Delete(bucket, key []byte) error

	// All returns the keys of a bucket in ascending order, with their values. The caller
	// changes nothing meanwhile.
	All(bucket []byte) iter.Seq2[[]byte, []byte]
}

// ledger reads and writes entries in a transaction, and maintains the sum of their
// checksums. After the first error it does nothing.
type ledger struct {
	entries Entries
	damage  error // of an entry that differs from what was written
	sum     uint64
	err     error
}

// open loads the sum of the previous transaction.
func (l *ledger) open() {
	l.sum, l.err = l.account()
}

func (l *ledger) account() (uint64, error) {
	data := l.entries.Get(bucketMeta, keyChecksum)
	if len(data) != 8 {
		return 0, fmt.Errorf("checksum is missing: %w", l.damage)
	}
	return binary.BigEndian.Uint64(data), nil
}

// close writes the sum.
func (l *ledger) close() error {
	if l.err != nil {
		return l.err
	}
	return l.entries.Put(bucketMeta, keyChecksum, binary.BigEndian.AppendUint64(nil, l.sum))
}

// complete reports whether all entries were read.
func (l *ledger) complete() error {
	if l.err != nil {
		return l.err
	}
	want, err := l.account()
	if err == nil && want != l.sum {
		err = fmt.Errorf("entries are missing: %w", l.damage)
	}
	return err
}

// verified checks an entry, adds it to the sum, and returns its encoding.
func (l *ledger) verified(bucket, key, entry []byte) (data []byte, ok bool) {
	if len(entry) < 8 || binary.BigEndian.Uint64(entry) != checksum(bucket, key, entry[8:]) {
		l.fail(bucket, key, l.damage)
		return nil, false
	}
	l.sum ^= binary.BigEndian.Uint64(entry)
	return entry[8:], true
}

func (l *ledger) fail(bucket, key []byte, err error) {
	if l.err != nil {
		return
	}
	name := strconv.QuoteToASCII(string(key))
	if len(key) == 8 {
		name = strconv.FormatUint(binary.BigEndian.Uint64(key), 10)
	}
	l.err = fmt.Errorf("%s %.60s: %w", bucket, name, err)
}

// get reads an entry into v, a pointer to a record. It returns false if there is no
// entry.
func (l *ledger) get(bucket, key []byte, v any) bool {
	entry := l.entries.Get(bucket, key)
	if l.err != nil || entry == nil {
		return false
	}
	data, ok := l.verified(bucket, key, entry)
	if !ok {
		return false
	}
	if err := decode(data, v); err != nil {
		l.fail(bucket, key, err)
		return false
	}
	return true
}

// each reads all entries of a bucket in the order of their keys.
func each[T any](l *ledger, bucket []byte, do func(T)) {
	if l.err != nil {
		return
	}
	for key, entry := range l.entries.All(bucket) {
		data, ok := l.verified(bucket, key, entry)
		if !ok {
			return
		}
		var v T
		if err := decode(data, &v); err != nil {
			l.fail(bucket, key, err)
			return
		}
		do(v)
	}
}

func (l *ledger) put(bucket, key []byte, v any) {
	if l.err != nil {
		return
	}
	data, err := encode(v)
	if err != nil {
		l.fail(bucket, key, err)
		return
	}
	sum := checksum(bucket, key, data)
	if entry := l.entries.Get(bucket, key); len(entry) >= 8 && binary.BigEndian.Uint64(entry) == sum && bytes.Equal(entry[8:], data) {
		return
	}
	l.delete(bucket, key)
	if err := l.entries.Put(bucket, key, append(binary.BigEndian.AppendUint64(nil, sum), data...)); err != nil {
		l.fail(bucket, key, err)
	}
	l.sum ^= sum
}

// delete removes an entry if it exists.
func (l *ledger) delete(bucket, key []byte) {
	entry := l.entries.Get(bucket, key)
	if l.err != nil || entry == nil {
		return
	}
	if _, ok := l.verified(bucket, key, entry); !ok {
		return
	}
	if err := l.entries.Delete(bucket, key); err != nil {
		l.fail(bucket, key, err)
	}
}

// storedPast is the record of a Past.
type storedPast struct {
	zeekapi.Deployment `zeek:"deployment"`
	Configuration      zeekapi.Configuration `zeek:"configuration"`
	Commitment         *Commitment           `zeek:"commitment,extension"`
}

// storedSent is the record of a Sent, together with the nodes that are stopped, because
// earlier versions treat an additional entry as damage.
type storedSent struct {
	Sent
	Stopped []zeekapi.StoppedNode `zeek:"stopped,extension"`
}

// told returns the storedSent, in a transaction with changes.
func (l *ledger) told() (told storedSent) {
	entry := l.entries.Get(bucketLast, keySent)
	if l.err != nil || entry == nil {
		return told
	}
	data, ok := l.verified(bucketLast, keySent, entry)
	if !ok {
		return told
	}
	l.sum ^= binary.BigEndian.Uint64(entry) // it is still there
	if err := decode(data, &told); err != nil {
		l.fail(bucketLast, keySent, err)
	}
	return told
}

// term returns the stored term, 0 if there is none. It is not part of the sum, because
// versions that know no terms treat an additional entry as damage.
func (l *ledger) term() uint64 {
	entry := l.entries.Get(bucketMeta, keyTerm)
	if l.err != nil || entry == nil {
		return 0
	}
	if len(entry) != 16 || binary.BigEndian.Uint64(entry) != checksum(bucketMeta, keyTerm, entry[8:]) {
		l.fail(bucketMeta, keyTerm, l.damage)
		return 0
	}
	return binary.BigEndian.Uint64(entry[8:])
}

// setTerm changes the stored term.
func (l *ledger) setTerm(term uint64) {
	if l.err != nil || term == l.term() {
		return
	}
	data := binary.BigEndian.AppendUint64(nil, term)
	entry := append(binary.BigEndian.AppendUint64(nil, checksum(bucketMeta, keyTerm, data)), data...)
	if err := l.entries.Put(bucketMeta, keyTerm, entry); err != nil {
		l.fail(bucketMeta, keyTerm, err)
	}
}

// replace makes the entries those of a state. It writes only what differs.
func (l *ledger) replace(s State) {
	kept := make(map[string]map[string]bool, len(buckets))
	for _, bucket := range buckets {
		kept[string(bucket)] = make(map[string]bool)
	}
	put := func(bucket, key []byte, v any) {
		kept[string(bucket)][string(key)] = true
		l.put(bucket, key, v)
	}
	for slot, c := range s.Configs {
		put(bucketConfigs, []byte(slot), c)
	}
	for _, p := range s.History {
		put(bucketHistory, keyOf(p.Number), storedPast(p))
	}
	for _, e := range s.Events {
		put(bucketEvents, keyOf(e.Number), e)
	}
	for _, name := range s.Drained {
		put(bucketDrained, keyOfName(name), name)
	}
	for _, name := range s.Owed {
		put(bucketOwed, keyOfName(name), name)
	}
	if s.Job != nil {
		put(bucketLast, keyJob, *s.Job)
	}
	if s.Sent != (Sent{}) || len(s.Stopped) > 0 {
		put(bucketLast, keySent, storedSent{s.Sent, s.Stopped})
	}
	l.setTerm(s.Term)
	for _, bucket := range buckets {
		l.retain(bucket, kept[string(bucket)])
	}
}

// retain removes the entries with other keys.
func (l *ledger) retain(bucket []byte, keys map[string]bool) {
	var others [][]byte
	for key := range l.entries.All(bucket) {
		if !keys[string(key)] {
			others = append(others, slices.Clone(key))
		}
	}
	for _, key := range others {
		l.delete(bucket, key)
	}
}

// trim removes entries with lower numbers than oldest.
func (l *ledger) trim(bucket []byte, oldest uint64) {
	var older [][]byte
	for key := range l.entries.All(bucket) {
		if bytes.Compare(key, keyOf(oldest)) >= 0 {
			break
		}
		older = append(older, slices.Clone(key))
	}
	for _, key := range older {
		l.delete(bucket, key)
	}
}

// encode returns the binary encoding of a record.
func encode(v any) ([]byte, error) {
	value, err := record.Marshal(v)
	if err != nil {
		return nil, err
	}
	return bin.Append(nil, value), nil
}

func decode(data []byte, v any) error {
	value, err := bin.Decode(data)
	if err != nil {
		return err
	}
	return record.Unmarshal(value, v)
}
