// Package tailfile reads the ends of files.
package tailfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Read returns the last bytes of a file, or nothing if the file does not exist.
func Read(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(max(0, size-int64(limit)), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}
