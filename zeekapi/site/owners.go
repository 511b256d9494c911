package site

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// The share of an owner: incomplete sites, and the part of the space of the store.
const (
	ownerUploads = 2
	ownerPart    = 4
)

// keyOf returns the key of an owner's upload of a site.
func keyOf(owner, id string) uploadKey {
	if owner == "" {
		return uploadKey{id: id}
	}
	sum := sha256.Sum256([]byte(owner))
	return uploadKey{hex.EncodeToString(sum[:8]), id}
}

// use is the part of the store that an owner uses.
type use struct {
	uploads int
	bytes   int64
}

// owned reports whether a complete site counts for its owner: no other owner has asked for
// it, and Keep does not keep it.
func (s *Store) owned(id string, site *stored) bool {
	return site.owner != "" && !slices.Contains(s.needed, id)
}

// uses returns the use of each owner.
func (s *Store) uses() map[string]use {
	uses := make(map[string]use)
	for key, u := range s.uploads {
		of := uses[key.owner]
		uses[key.owner] = use{of.uploads + 1, of.bytes + u.size}
	}
	for id, site := range s.sites {
		if s.owned(id, site) {
			of := uses[site.owner]
			of.bytes += site.size
			uses[site.owner] = of
		}
	}
	delete(uses, "")
	return uses
}

func (s *Store) use(owner string) use { return s.uses()[owner] }

// largest returns the owner with the largest result of number, and that result.
func (s *Store) largest(number func(use) int64) (owner string, most int64) {
	for name, u := range s.uses() {
		if n := number(u); n > most {
			owner, most = name, n
		}
	}
	return owner, most
}

// roomOfOwner removes an owner's oldest sites, until another one of that size is within its
// share.
func (s *Store) roomOfOwner(owner string, size int64) error {
	if owner == "" {
		return nil
	}
	share := max(s.cfg.Bytes/ownerPart, min(s.cfg.Bytes, s.cfg.Limits.archive()))
	for {
		has := s.use(owner)
		tooMany := has.uploads >= ownerUploads
		tooLarge := has.bytes > 0 && has.bytes+size > share
		switch {
		case !tooMany && !tooLarge:
			return nil
		case s.dropOldest(owner, tooMany): // there may be room now
		case tooMany:
			return fmt.Errorf("this client is uploading %d other sites; try again later", has.uploads)
		default:
			return fmt.Errorf("%d bytes more would exceed the share of this client, %d bytes", size, share)
		}
	}
}

// dropOldest removes the oldest site of an owner, or its oldest incomplete one if upload is
// true. It returns false if it can remove none.
func (s *Store) dropOldest(owner string, upload bool) bool {
	var oldest unused
	consider := func(u unused) {
		if s.busy[u.id] == nil && (oldest.id == "" || u.since.Before(oldest.since)) {
			oldest = u
		}
	}
	for key, u := range s.uploads {
		if key.owner == owner {
			consider(unused{key, true, u.have, u.used})
		}
	}
	for id, site := range s.sites {
		if !upload && site.owner == owner && s.owned(id, site) {
			consider(unused{uploadKey{id: id}, false, site.size, site.used})
		}
	}
	return oldest.id != "" && s.remove(oldest) == nil
}
