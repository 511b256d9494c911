package controller

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// fileEntries are the entries of a file, in a transaction.
type fileEntries struct{ tx *bolt.Tx }

func (e fileEntries) Get(bucket, key []byte) []byte { return e.tx.Bucket(bucket).Get(key) }

func (e fileEntries) Put(bucket, key, value []byte) error { return e.tx.Bucket(bucket).Put(key, value) }

func (e fileEntries) Delete(bucket, key []byte) error { return e.tx.Bucket(bucket).Delete(key) }

func (e fileEntries) All(bucket []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		cursor := e.tx.Bucket(bucket).Cursor()
		for key, value := cursor.First(); key != nil && yield(key, value); key, value = cursor.Next() {
		}
	}
}

// schemaOne is the schema of files of the first versions.
const schemaOne = "1"

// errFileDamaged is the error of a file that differs from what a controller wrote.
var errFileDamaged = errors.New("the file is damaged; restore it from a copy, or move it away to begin anew")

// fileLedger returns the ledger of a file, in a transaction.
func fileLedger(tx *bolt.Tx) *ledger {
	return &ledger{entries: fileEntries{tx}, damage: errFileDamaged}
}

// hasSchema reports whether a file has the present schema.
func hasSchema(tx *bolt.Tx) (bool, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || string(meta.Get(keySchema)) != schema {
		return false, nil
	}
	for _, name := range append([][]byte{bucketMeta}, buckets...) {
		if tx.Bucket(name) == nil {
			return false, fmt.Errorf("%s is missing: %w", name, errFileDamaged)
		}
	}
	return true, nil
}

// prepareFile creates the buckets of a new file, upgrades an old file, and returns an
// error for a file with an unknown schema.
func prepareFile(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var former map[Slot]zeekapi.Configuration
	if meta != nil {
		found := string(meta.Get(keySchema))
		if found != schemaOne {
			return fmt.Errorf("schema is %q, and this program reads up to %q: install the version that wrote it, or a later one", found, schema)
		}
		var err error
		if former, err = loadSchemaOne(tx); err != nil {
			return err
		}
	} else if name, _ := tx.Cursor().First(); name != nil {
		return fmt.Errorf("it is a database of something else, with %.40q", name)
	}
	for _, name := range append([][]byte{bucketMeta}, buckets...) {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	if err := tx.Bucket(bucketMeta).Put(keySchema, []byte(schema)); err != nil {
		return err
	}
	w := fileLedger(tx)
	for _, slot := range Slots {
		if c, ok := former[slot]; ok {
			w.put(bucketConfigs, []byte(slot), c)
		}
	}
	return w.close()
}

// loadSchemaOne returns the configurations of schema 1. If the target came from the
// staged configuration, addresses that are unspecified there become unspecified again.
func loadSchemaOne(tx *bolt.Tx) (map[Slot]zeekapi.Configuration, error) {
	configs := make(map[Slot]zeekapi.Configuration)
	if tx.Bucket(bucketConfigs) == nil {
		return nil, fmt.Errorf("%s is missing: %w", bucketConfigs, errFileDamaged)
	}
	for _, slot := range Slots {
		data := tx.Bucket(bucketConfigs).Get([]byte(slot))
		if data == nil {
			continue
		}
		var c zeekapi.Configuration
		if err := decode(data, &c); err != nil {
			return nil, fmt.Errorf("%s configuration: %w", slot, err)
		}
		configs[slot] = c
	}
	staged := configs[Staged]
	for _, slot := range []Slot{Ready, Target} {
		c, ok := configs[slot]
		if !ok || c.ID != staged.ID {
			continue
		}
		c.Instances = slices.Clone(c.Instances)
		for i, inst := range c.Instances {
			if as, ok := staged.Instance(inst.Name); ok && unspecified(as.Host) {
				c.Instances[i].Host = as.Host
			}
		}
		configs[slot] = c
	}
	return configs, tx.DeleteBucket(bucketConfigs)
}

// reserve is the number of bytes that a file keeps free within itself. It serves for
// what must be stored when the disk is full: the end of a deployment, for example.
const reserve = 1 << 20

// bucketReserve exists only while room makes free pages.
var bucketReserve = []byte("reserve")

// fillReserve writes an entry that takes as much room as the reserve.
func fillReserve(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketReserve)
	if err != nil {
		return err
	}
	return b.Put([]byte("0"), make([]byte, reserve))
}

// emptyReserve removes that entry, whose pages are then free. A database never returns
// them to the disk.
func emptyReserve(tx *bolt.Tx) error { return tx.DeleteBucket(bucketReserve) }
