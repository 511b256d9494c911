package controller

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/zeekwire/zeekwire/broker/bin"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Store keeps the configurations of a controller over its restarts, in one
// file. Every change is atomic and on disk when Save returns.
type Store struct{ db *bolt.DB }

// Keys and values of the file: the bucket "configs" holds a configuration per
// slot, as the binary encoding of its record; "meta" holds the schema's number.
var (
	bucketConfigs = []byte("configs")
	bucketMeta    = []byte("meta")
	keySchema     = []byte("schema")
)

const schema = "1"

// lockTimeout is how long to wait for another process that holds the file.
const lockTimeout = time.Second

// OpenStore opens or creates the store in file, with the folders above it.
func OpenStore(file string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("controller: state: %w", err)
	}
	var db *bolt.DB
	err := undamaged(func() (err error) {
		db, err = bolt.Open(file, 0o600, &bolt.Options{Timeout: lockTimeout})
		return err
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("controller: state file %s is in use: is another controller running?", file)
	}
	if err != nil {
		return nil, fmt.Errorf("controller: state file %s: %w", file, err)
	}
	err = undamaged(func() error { return db.Update(prepare) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("controller: state file %s: %w", file, err), db.Close())
	}
	return &Store{db: db}, nil
}

// prepare makes the buckets of a new file, and refuses one with another schema.
func prepare(tx *bolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	if found := meta.Get(keySchema); found != nil && string(found) != schema {
		return fmt.Errorf("schema is %q, this program knows %q", found, schema)
	}
	if _, err := tx.CreateBucketIfNotExists(bucketConfigs); err != nil {
		return err
	}
	return meta.Put(keySchema, []byte(schema))
}

// undamaged calls do and makes an error of how bbolt meets a damaged file: with
// a panic, or if the file is too short, with a fault in the memory it maps.
func undamaged(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
	}()
	return do()
}

// Load returns the configurations that are there.
func (s *Store) Load() (map[Slot]zeekapi.Configuration, error) {
	configs := make(map[Slot]zeekapi.Configuration)
	view := func(tx *bolt.Tx) error {
		for _, slot := range Slots {
			data := tx.Bucket(bucketConfigs).Get([]byte(slot))
			if data == nil {
				continue
			}
			v, err := bin.Decode(data)
			if err != nil {
				return fmt.Errorf("%s configuration: %w", slot, err)
			}
			var c zeekapi.Configuration
			if err := zeekapi.Unmarshal(v, &c); err != nil {
				return fmt.Errorf("%s configuration: %w", slot, err)
			}
			configs[slot] = c
		}
		return nil
	}
	if err := undamaged(func() error { return s.db.View(view) }); err != nil {
		return nil, fmt.Errorf("controller: state file %s: %w", s.db.Path(), err)
	}
	return configs, nil
}

// Save keeps c in place of what the slot held.
func (s *Store) Save(slot Slot, c zeekapi.Configuration) error {
	v, err := zeekapi.Marshal(c)
	if err != nil {
		return fmt.Errorf("controller: state: %w", err)
	}
	err = s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketConfigs).Put([]byte(slot), bin.Append(nil, v))
	})
	if err != nil {
		return fmt.Errorf("controller: state: saving the %s configuration: %w", slot, err)
	}
	return nil
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
