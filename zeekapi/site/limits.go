package site

import "fmt"

// The default limits of a site.
const (
	DefaultMaxBytes = 256 << 20
	DefaultMaxFiles = 20_000
)

// Limits limits the size of a site. The zero Limits stands for the defaults.
type Limits struct {
	// Bytes limits the content of all files together, not compressed, in bytes.
	// Zero means DefaultMaxBytes. A negative value is an error.
	Bytes int64

	// Files limits the number of files, directories and symbolic links. Zero means
	// DefaultMaxFiles. A negative value is an error.
	Files int
}

func (l Limits) complete() (Limits, error) {
	if l.Bytes < 0 || l.Files < 0 {
		return l, fmt.Errorf("site: limits are %d bytes and %d files, must not be negative", l.Bytes, l.Files)
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultMaxBytes
	}
	if l.Files == 0 {
		l.Files = DefaultMaxFiles
	}
	return l, nil
}

// entryCost is how much of the archive an entry may take on average, in addition
// to its content.
const entryCost = 4 << 10

// archive returns the size of the largest canonical archive, in bytes. A packed
// site is not larger either.
func (l Limits) archive() int64 { return l.Bytes + int64(l.Files)*entryCost + 1<<20 }

// MaxPacked returns the size of the largest packed site, in bytes.
func (l Limits) MaxPacked() (uint64, error) {
	l, err := l.complete()
	return uint64(l.archive()), err
}

// tooLarge and tooMany return the errors about exceeded limits.
func (l Limits) tooLarge() error {
	return fmt.Errorf("the site is larger than the limit of %d bytes", l.Bytes)
}

func (l Limits) tooMany() error {
	return fmt.Errorf("the site has more than %d files, directories and links", l.Files)
}
