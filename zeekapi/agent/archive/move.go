package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

var (
	errNotRegular = errors.New("not a regular file")
	errChanged    = errors.New("still being written")
)

// settleTime is how long a file must have been left alone before it is taken
// for complete. Zeek renames its logs when they are, but others may copy.
const settleTime = 3 * time.Second

// maxNumber is how many logs of the same name there may be.
const maxNumber = 1000

// move moves one log from the queue into the archive. Whatever happens, also
// if it ends in the middle, there is a whole log in one of them, and another
// attempt completes it:
//
//	a temporary file is written, synced and renamed, and only then is the
//	source removed
//
// If there is a file of the same name it is either the same log, and the source
// was not removed the last time, or another, and this one gets a number.
func (a *archiver) move(ctx context.Context, name string, r rotated) error {
	path := filepath.Join(a.Queue, name)
	dir := filepath.Join(a.Dir, r.dir())
	before, err := a.stat(path)
	if err != nil {
		return err
	}
	if age := a.now().Sub(before.ModTime()); age >= 0 && age < settleTime {
		return errChanged
	}
	if err := a.disk.mkdir(dir); err != nil {
		return err
	}
	for number := 1; number <= maxNumber; number++ {
		to := filepath.Join(dir, r.file(number))
		there, same, err := a.holds(ctx, to, path, r)
		if err != nil {
			return err
		}
		if there && !same {
			continue
		}
		if !there {
			if err := a.write(ctx, path, to, r, before); err != nil {
				return err
			}
		}
		return a.disk.remove(path)
	}
	return fmt.Errorf("%d logs of that name are in the archive", maxNumber)
}

// write writes a complete log to a name that is free.
func (a *archiver) write(ctx context.Context, from, to string, r rotated, before fs.FileInfo) error {
	tmp := filepath.Join(filepath.Dir(to), ".tmp."+filepath.Base(to))
	err := a.writeTemporary(ctx, from, tmp, r, before)
	if err == nil {
		err = a.disk.rename(tmp, to)
	}
	if err != nil {
		_ = a.disk.remove(tmp) // or else the next attempt overwrites it
	}
	return err
}

func (a *archiver) writeTemporary(ctx context.Context, from, tmp string, r rotated, before fs.FileInfo) (err error) {
	in, err := a.disk.open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := a.disk.create(tmp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	size, err := encode(out, reader{ctx, in}, r)
	if err != nil {
		return err
	}
	after, err := a.stat(from)
	if err != nil {
		return err
	}
	if size != before.Size() || size != after.Size() || !after.ModTime().Equal(before.ModTime()) {
		return errChanged
	}
	if err := out.setTime(before.ModTime()); err != nil {
		return err
	}
	return out.Sync()
}

// encode writes a log as the archive has it and returns the size of the log.
func encode(w io.Writer, log io.Reader, r rotated) (size int64, err error) {
	if r.compressed() {
		return io.Copy(w, log)
	}
	z := gzip.NewWriter(w)
	if size, err = io.Copy(z, log); err != nil {
		return size, err
	}
	return size, z.Close()
}

// holds reports whether there is a file in the archive, and whether it holds
// the log.
func (a *archiver) holds(ctx context.Context, archived, path string, r rotated) (there, same bool, err error) {
	have, err := a.disk.open(archived)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case errors.Is(err, errNotRegular):
		return true, false, nil
	case err != nil:
		return false, false, err
	}
	defer have.Close()
	log, err := a.disk.open(path)
	if err != nil {
		return true, false, err
	}
	defer log.Close()
	var content io.Reader = reader{ctx, have}
	if !r.compressed() {
		if content, err = gzip.NewReader(content); err != nil {
			return true, false, ctx.Err()
		}
	}
	rest := comparer{bufio.NewReader(reader{ctx, log})}
	if _, err := io.Copy(rest, content); err != nil {
		// It is another log, or no whole one.
		return true, false, ctx.Err()
	}
	_, err = rest.log.ReadByte()
	return true, errors.Is(err, io.EOF), ctx.Err()
}

// comparer takes what a log has and fails at anything else.
type comparer struct{ log *bufio.Reader }

var errDifferent = errors.New("different content")

func (c comparer) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		have, err := c.log.Peek(min(len(b)-n, c.log.Size()))
		if err != nil || !bytes.Equal(have, b[n:n+len(have)]) {
			return n, errDifferent
		}
		n += len(have)
		if _, err := c.log.Discard(len(have)); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func (a *archiver) stat(path string) (fs.FileInfo, error) {
	f, err := a.disk.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
