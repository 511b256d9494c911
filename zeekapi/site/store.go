package site

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The defaults of StoreConfig.
const (
	DefaultStoreBytes = 2 << 30
	DefaultUploads    = 16
)

// uploadIdle is the time after which an upload that got no part must yield to
// another one.
const uploadIdle = 30 * time.Second

// StoreConfig configures a Store. Dir is required.
type StoreConfig struct {
	// Dir is the directory of the store. Open creates it if it does not exist,
	// readable only by the current user, because scripts may contain secrets. No
	// other store may use it at the same time.
	Dir string

	// Limits limits each site.
	Limits Limits

	// Bytes limits the disk space of all sites together, packed, unpacked and
	// partial ones. Zero means DefaultStoreBytes. A negative value is an error.
	Bytes int64

	// Uploads limits the number of incomplete sites. Zero means DefaultUploads. A
	// negative value is an error. An owner may have two of them, see AppendOf.
	Uploads int

	// Now returns the current time. If nil, time.Now is used.
	Now func() time.Time
}

// Store keeps packed sites in a directory, by ID, and unpacks them. Sites arrive in
// parts, and an incomplete one survives a restart. A site is complete only after
// its content has been verified and written to the disk.
//
// The files of a store are ID.tar.zst, a packed site; ID.SIZE.part, an incomplete
// one, or ID.SIZE.OWNER.part, with a digest of its owner; and the directory ID, an
// unpacked one.
//
// All methods may be called concurrently. Verifying and unpacking a site takes seconds if
// it is large, in which only other calls about this site wait.
type Store struct {
	cfg StoreConfig

	mu       sync.Mutex
	sites    map[string]*stored
	unpacked map[string]*unpacked
	uploads  map[uploadKey]*upload
	needed   []string                 // the sites that Keep was told to keep last
	busy     map[string]chan struct{} // sites that are being verified or unpacked, without mu; closed when that has ended
}

// stored is a complete packed site.
type stored struct {
	size  int64
	bytes int64     // of the files in it; 0: unknown
	used  time.Time // when it was uploaded, or Have last asked for it
	owner string    // as in uploadKey; "" if it is unknown, or if others asked for it
}

// unpacked is an unpacked site. Nothing is trusted that an earlier Store left
// until its content has been verified.
type unpacked struct {
	bytes    int64
	verified bool
}

// uploadKey identifies an incomplete site. Each owner has its own, so that no owner can
// disturb another one's.
type uploadKey struct {
	owner string // digest of its name, or ""
	id    string
}

// upload is an incomplete site.
type upload struct {
	have, size int64
	used       time.Time // when it got its last part
}

// Suffixes of files, and prefixes of directories that are about to be removed.
const (
	packedSuffix = ".tar.zst"
	partSuffix   = ".part"
	removePrefix = ".remove-"
)

// Open opens the store in a directory, removes what an interrupted Store left
// behind, and continues incomplete uploads.
func Open(cfg StoreConfig) (*Store, error) {
	if cfg.Bytes < 0 || cfg.Uploads < 0 {
		return nil, fmt.Errorf("site: limits of the store are %d bytes and %d uploads, must not be negative", cfg.Bytes, cfg.Uploads)
	}
	var err error
	if cfg.Limits, err = cfg.Limits.complete(); err != nil {
		return nil, err
	}
	if cfg.Bytes == 0 {
		cfg.Bytes = DefaultStoreBytes
	}
	if cfg.Uploads == 0 {
		cfg.Uploads = DefaultUploads
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	s := &Store{cfg: cfg, sites: map[string]*stored{}, unpacked: map[string]*unpacked{}, uploads: map[uploadKey]*upload{}, busy: map[string]chan struct{}{}}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	return s, nil
}

// load finds the sites in the directory.
func (s *Store) load() error {
	files, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, d := range files {
		name := d.Name()
		switch {
		case strings.HasPrefix(name, tempPrefix), strings.HasPrefix(name, removePrefix):
			_ = os.RemoveAll(s.path(name)) // an error, such as that of a read-only file system, only wastes room
		case d.IsDir() && zeekapi.ValidSite(name):
			s.unpacked[name] = &unpacked{bytes: s.sizeOf(name)}
		case d.Type().IsRegular():
			if err := s.loadFile(d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) loadFile(d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if id, ok := strings.CutSuffix(d.Name(), packedSuffix); ok && zeekapi.ValidSite(id) {
		s.sites[id] = &stored{size: info.Size(), used: s.lastUse(info)}
	}
	rest, ok := strings.CutSuffix(d.Name(), partSuffix)
	if !ok {
		return nil
	}
	id, numbers, _ := strings.Cut(rest, ".")
	number, owner, _ := strings.Cut(numbers, ".")
	size, err := strconv.ParseInt(number, 10, 64)
	key := uploadKey{owner, id}
	if err != nil || !zeekapi.ValidSite(id) || s.uploads[key] != nil || info.Size() > size {
		_ = os.Remove(s.path(d.Name())) // as above
		return nil
	}
	s.uploads[key] = &upload{info.Size(), size, s.lastUse(info)}
	return nil
}

// lastUse returns when an earlier Store used a file. From then on, changes of the clock
// have no effect on its age, because Now has a monotonic reading. A file with a time in
// the future is as old as this Store: its clock was set back.
func (s *Store) lastUse(info fs.FileInfo) time.Time {
	now := s.cfg.Now()
	return now.Add(-max(0, now.Sub(info.ModTime())))
}

// sizeOf returns the size of the files of an unpacked site, as far as they can be
// read.
func (s *Store) sizeOf(id string) int64 {
	root, err := os.OpenRoot(s.path(id))
	if err != nil {
		return 0
	}
	defer root.Close()
	found, err := scanDir(root, s.cfg.Limits)
	if err != nil {
		return 0
	}
	return found.bytes
}

// idle waits until a site is not busy. The caller holds mu, also afterwards.
func (s *Store) idle(id string) {
	for s.busy[id] != nil {
		ended := s.busy[id]
		s.mu.Unlock()
		<-ended
		s.mu.Lock()
	}
}

// occupied calls do, about a site that is not busy, without mu. The caller holds mu, also
// afterwards.
func (s *Store) occupied(id string, do func() error) error {
	ended := make(chan struct{})
	s.busy[id] = ended
	s.mu.Unlock()
	err := do()
	s.mu.Lock()
	delete(s.busy, id)
	close(ended)
	return err
}

func (s *Store) path(name string) string { return filepath.Join(s.cfg.Dir, name) }

func (s *Store) packed(id string) string { return s.path(id + packedSuffix) }

func (s *Store) part(key uploadKey, u *upload) string {
	name := key.id + "." + strconv.FormatInt(u.size, 10)
	if key.owner != "" {
		name += "." + key.owner
	}
	return s.path(name + partSuffix)
}

// Have is HaveOf without an owner.
func (s *Store) Have(id string) zeekapi.SiteProgress { return s.HaveOf("", id) }

// HaveOf returns how much of a site the store has from an owner, see AppendOf. If it is
// complete, also through another owner, Keep does not remove it for its grace period from now on.
func (s *Store) HaveOf(owner, id string) zeekapi.SiteProgress {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have(keyOf(owner, id))
}

func (s *Store) have(key uploadKey) zeekapi.SiteProgress {
	if site := s.sites[key.id]; site != nil {
		site.used = s.cfg.Now()
		if site.owner != key.owner {
			site.owner = "" // its former owner must not be able to remove it
		}
		_ = os.Chtimes(s.packed(key.id), site.used, site.used) // a failure only shortens its life
		return zeekapi.SiteProgress{Have: uint64(site.size), Complete: true}
	}
	if u := s.uploads[key]; u != nil {
		return zeekapi.SiteProgress{Have: uint64(u.have)}
	}
	return zeekapi.SiteProgress{}
}

// Append is AppendOf without an owner.
func (s *Store) Append(p zeekapi.SitePart) (zeekapi.SiteProgress, error) { return s.AppendOf("", p) }

// AppendOf adds a part to an incomplete site of an owner, or begins one, and returns how
// much of it the store has. It ignores a part that does not begin where the store's end is,
// any part of a complete site, and a part without data. A part whose Size differs
// from that of the parts before begins the site anew if its Offset is 0, and is
// ignored otherwise.
//
// The last part completes the site. If its content is not that of the ID, AppendOf
// removes the site and returns an error, as it does if a limit is exceeded.
//
// An owner, such as the name of a user or the address of a client, has a share: two
// incomplete sites, and a quarter of the space for those and for complete ones that Keep was
// not told to keep. To begin another site, its own oldest one is removed. If the store is
// full, the oldest one of the owner with the largest use is removed, if that is more than
// the new owner has. With the owner "", sites have no share, and only the limits of the
// store apply.
func (s *Store) AppendOf(owner string, p zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	if !zeekapi.ValidSite(p.Site) {
		return zeekapi.SiteProgress{}, fmt.Errorf("site: %q is not the ID of a site", clip(p.Site))
	}
	key := keyOf(owner, p.Site)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Offset+uint64(len(p.Data)) == p.Size {
		s.idle(p.Site)
	}
	if s.sites[p.Site] != nil || p.Data == "" || s.busy[p.Site] != nil {
		return s.have(key), nil
	}
	u, err := s.upload(key, p)
	if err == nil && u != nil && p.Offset == uint64(u.have) {
		err = s.write(key, u, p.Data)
		if err == nil && u.have == u.size {
			err = s.complete(key, u)
		}
	}
	if err != nil {
		return s.have(key), fmt.Errorf("site %s: %w", short(p.Site), err)
	}
	return s.have(key), nil
}

// upload returns the upload that a part belongs to, or nil if it belongs to none.
func (s *Store) upload(key uploadKey, p zeekapi.SitePart) (*upload, error) {
	longest := uint64(s.cfg.Limits.archive())
	length := uint64(len(p.Data))
	switch {
	case p.Size > longest:
		return nil, fmt.Errorf("packed size of %d bytes is over the limit of %d bytes", p.Size, longest)
	case length > zeekapi.MaxSitePart:
		return nil, fmt.Errorf("part of %d bytes is larger than %d bytes", length, zeekapi.MaxSitePart)
	case p.Offset > p.Size, length > p.Size-p.Offset:
		return nil, fmt.Errorf("part of %d bytes at %d is not within %d bytes", length, p.Offset, p.Size)
	}
	u := s.uploads[key]
	switch {
	case u != nil && u.size == int64(p.Size):
		return u, nil
	case p.Offset > 0:
		return nil, nil
	case u != nil:
		if err := s.dropUpload(key); err != nil {
			return nil, err
		}
	}
	for _, room := range []func(owner string, size int64) error{s.roomOfOwner, s.roomForUpload, s.roomForBytes} {
		if err := room(key.owner, int64(p.Size)); err != nil {
			return nil, err
		}
	}
	u = &upload{size: int64(p.Size), used: s.cfg.Now()}
	s.uploads[key] = u
	return u, nil
}

// roomForUpload removes an upload if there are too many: the one that has been idle for the
// longest time, or one of the owner with most uploads.
func (s *Store) roomForUpload(owner string, _ int64) error {
	if len(s.uploads) < s.cfg.Uploads {
		return nil
	}
	var oldest uploadKey
	since := s.cfg.Now().Add(-uploadIdle)
	for key, u := range s.uploads {
		if u.used.Before(since) && s.busy[key.id] == nil {
			oldest, since = key, u.used
		}
	}
	if oldest.id != "" {
		return s.dropUpload(oldest)
	}
	most, many := s.largest(func(u use) int64 { return int64(u.uploads) })
	if owner != "" && many > int64(s.use(owner).uploads)+1 && s.dropOldest(most, true) {
		return nil
	}
	return fmt.Errorf("%d other sites are being uploaded; try again later", len(s.uploads))
}

// roomForBytes is like room, but first removes sites of owners that use more than the new one.
func (s *Store) roomForBytes(owner string, size int64) error {
	for {
		err := s.room(size)
		if err == nil || owner == "" {
			return err
		}
		most, bytes := s.largest(func(u use) int64 { return u.bytes })
		if bytes <= s.use(owner).bytes+size || !s.dropOldest(most, false) {
			return err
		}
	}
}

// room returns an error if the store must not grow by so many bytes.
func (s *Store) room(bytes int64) error {
	used := bytes
	for _, site := range s.sites {
		used += site.size
	}
	for _, u := range s.unpacked {
		used += u.bytes
	}
	for _, u := range s.uploads {
		used += u.size
	}
	if used > s.cfg.Bytes {
		return fmt.Errorf("%d bytes more would exceed the limit of %d bytes for all sites", bytes, s.cfg.Bytes)
	}
	return nil
}

func (s *Store) dropUpload(key uploadKey) error {
	u := s.uploads[key]
	delete(s.uploads, key)
	if err := os.Remove(s.part(key, u)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// write appends data to the file of an upload.
func (s *Store) write(key uploadKey, u *upload, data string) (err error) {
	f, err := os.OpenFile(s.part(key, u), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(data), u.have)
	if err != nil {
		err = errors.Join(err, f.Truncate(u.have))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	u.used = s.cfg.Now()
	if err := os.Chtimes(f.Name(), u.used, u.used); err != nil {
		return err
	}
	u.have += int64(len(data))
	return nil
}

// complete verifies an upload and makes it a complete site. Other uploads of the site end.
func (s *Store) complete(key uploadKey, u *upload) error {
	var bytes int64
	err := s.occupied(key.id, func() (err error) {
		bytes, err = s.verifyFile(s.part(key, u), key.id)
		if err != nil {
			return err
		}
		return os.Rename(s.part(key, u), s.packed(key.id))
	})
	if err != nil {
		return errors.Join(err, s.dropUpload(key))
	}
	delete(s.uploads, key)
	s.sites[key.id] = &stored{u.size, bytes, u.used, key.owner}
	for other := range s.uploads {
		if other.id == key.id {
			_ = s.dropUpload(other) // a failure only wastes space
		}
	}
	return syncDir(s.cfg.Dir)
}

// verifyFile makes a packed site durable, verifies it, and returns the size of the
// files in it.
func (s *Store) verifyFile(name, id string) (bytes int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return verify(f, id, s.cfg.Limits)
}

// Read returns the part of a complete site that begins at the offset, at most n
// bytes and at most zeekapi.MaxSitePart. At the end of the site the part has no
// data.
func (s *Store) Read(id string, offset uint64, n int) (zeekapi.SitePart, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site := s.sites[id]
	if site == nil {
		return zeekapi.SitePart{}, fmt.Errorf("site %q is unknown", clip(id))
	}
	if n < 0 || offset > uint64(site.size) {
		return zeekapi.SitePart{}, fmt.Errorf("site %s: %d bytes at %d are not within %d bytes", short(id), n, offset, site.size)
	}
	f, err := os.Open(s.packed(id))
	if err != nil {
		return zeekapi.SitePart{}, fmt.Errorf("site %s: %w", short(id), err)
	}
	defer f.Close()
	data := make([]byte, min(int64(n), zeekapi.MaxSitePart, site.size-int64(offset)))
	if _, err := io.ReadFull(io.NewSectionReader(f, int64(offset), int64(len(data))), data); err != nil {
		return zeekapi.SitePart{}, fmt.Errorf("site %s: %w", short(id), err)
	}
	return zeekapi.SitePart{Site: id, Size: uint64(site.size), Offset: offset, Data: string(data)}, nil
}

// Unpacked returns the absolute path of the directory with an unpacked site, and
// unpacks it if necessary. The first call after Open verifies the directory, and
// replaces it if its content has changed.
func (s *Store) Unpacked(id string) (dir string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle(id)
	dir = s.path(id)
	if u := s.unpacked[id]; u != nil {
		if !u.verified {
			_ = s.occupied(id, func() error {
				p, err := identify(dir, s.cfg.Limits, io.Discard)
				u.verified = err == nil && p.ID == id && len(p.Skipped) == 0
				return nil
			})
		}
		if u.verified {
			return dir, nil
		}
	}
	if s.sites[id] == nil {
		return "", fmt.Errorf("site %q is unknown", clip(id))
	}
	if err := s.unpack(id); err != nil {
		return "", fmt.Errorf("site %s: %w", short(id), err)
	}
	return dir, nil
}

func (s *Store) unpack(id string) (err error) {
	bytes := s.sites[id].bytes
	if bytes == 0 {
		if err := s.occupied(id, func() (err error) {
			bytes, err = s.verifyFile(s.packed(id), id)
			return err
		}); err != nil {
			return err
		}
	}
	if err := s.removeUnpacked(id); err != nil {
		return err
	}
	if err := s.room(bytes); err != nil {
		return err
	}
	s.unpacked[id] = &unpacked{bytes: bytes} // takes its room from now on
	if err := s.occupied(id, func() error { return s.unpackFile(id) }); err != nil {
		delete(s.unpacked, id)
		return err
	}
	s.unpacked[id].verified = true
	return nil
}

func (s *Store) unpackFile(id string) error {
	f, err := os.Open(s.packed(id))
	if err != nil {
		return err
	}
	defer f.Close()
	return Unpack(f, id, s.path(id), s.cfg.Limits)
}

// removeUnpacked removes an unpacked site. It disappears at once.
func (s *Store) removeUnpacked(id string) error {
	if s.unpacked[id] == nil {
		return nil
	}
	away := s.path(removePrefix + id)
	if err := os.RemoveAll(away); err != nil {
		return err
	}
	if err := os.Rename(s.path(id), away); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	delete(s.unpacked, id)
	return os.RemoveAll(away)
}

// Keep removes all sites but the given ones, packed, unpacked and incomplete, unless
// they were uploaded or asked for by Have less than the grace period ago. Incomplete
// sites are also removed among the given ones, if they got no part for that time.
func (s *Store) Keep(ids []string, grace time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = slices.Clone(ids)
	var errs []error
	for _, u := range s.unused(ids, grace) {
		errs = append(errs, s.remove(u))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("site: %w", err)
	}
	return nil
}

// Unused returns the sites and uploads that Keep would remove.
func (s *Store) Unused(ids []string, grace time.Duration) []zeekapi.Leftover {
	s.mu.Lock()
	defer s.mu.Unlock()
	var leftovers []zeekapi.Leftover
	for _, u := range s.unused(ids, grace) {
		l := zeekapi.Leftover{Path: s.path(u.id), Kind: zeekapi.LeftoverSite, Bytes: uint64(u.bytes), Since: u.since}
		if u.incomplete {
			l.Path = s.part(u.uploadKey, s.uploads[u.uploadKey])
		}
		leftovers = append(leftovers, l)
	}
	return leftovers
}

// unused is a site, packed or unpacked or both, or an incomplete one, that is not needed.
type unused struct {
	uploadKey
	incomplete bool
	bytes      int64
	since      time.Time // of its last use; zero if it is only unpacked
}

// unused returns what Keep removes.
func (s *Store) unused(ids []string, grace time.Duration) (found []unused) {
	before := s.cfg.Now().Add(-grace)
	for key, u := range s.uploads {
		if !u.used.After(before) && s.busy[key.id] == nil {
			found = append(found, unused{key, true, u.have, u.used})
		}
	}
	needed := func(id string) bool { return slices.Contains(ids, id) || s.busy[id] != nil }
	for id, site := range s.sites {
		if needed(id) || site.used.After(before) {
			continue
		}
		size := site.size
		if u := s.unpacked[id]; u != nil {
			size += u.bytes
		}
		found = append(found, unused{uploadKey{id: id}, false, size, site.used})
	}
	for id, u := range s.unpacked {
		if !needed(id) && s.sites[id] == nil {
			found = append(found, unused{uploadKey{id: id}, false, u.bytes, time.Time{}})
		}
	}
	return found
}

// remove removes an incomplete site, or a site with its unpacked form.
func (s *Store) remove(u unused) error {
	if u.incomplete {
		return s.dropUpload(u.uploadKey)
	}
	if s.sites[u.id] != nil {
		if err := os.Remove(s.packed(u.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(s.sites, u.id)
	}
	return s.removeUnpacked(u.id)
}

// Sites returns the IDs of the complete sites, sorted.
func (s *Store) Sites() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, 0, len(s.sites))
	for id := range s.sites {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}
