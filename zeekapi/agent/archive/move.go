package archive

import (
	"bufio"
	"bytes"
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

// settleTime is the time without changes after which a file is considered
// complete. Zeek renames complete logs into the queue, but other programs may
// copy them.
const settleTime = 3 * time.Second

// untilSettled returns the time until a file counts as complete, and 0 if it does. A
// file from the future does: its clock says nothing about its age.
func (a *archiver) untilSettled(file fs.FileInfo) time.Duration {
	age := a.now().Sub(file.ModTime())
	if age < 0 || age >= settleTime {
		return 0
	}
	return settleTime - age
}

// maxNumber is the maximum number of logs with the same name.
const maxNumber = 1000

// move moves a log from the queue to the archive. If it fails or the machine
// crashes at any point, the complete log is in one of the two, and the next
// attempt completes the move: a temporary file is written, synced and renamed,
// and only then is the source removed.
//
// If the archive contains a file of the same name, it is either the same log,
// whose source was not removed by an earlier attempt, or another log. In the
// latter case, a number is added to the name.
func (a *archiver) move(ctx context.Context, name string, r rotated) error {
	path := filepath.Join(a.Queue, name)
	dir := filepath.Join(a.Dir, r.dir())
	before, err := a.stat(path)
	if err != nil {
		return err
	}
	if a.untilSettled(before) > 0 {
		return errChanged
	}
	if err := a.disk.mkdir(dir); err != nil {
		return err
	}
	for number := 1; number <= maxNumber; number++ {
		there, same, err := a.holdsAny(ctx, dir, number, path, r)
		if err != nil {
			return err
		}
		if there && !same {
			continue
		}
		if !there {
			if err := a.write(ctx, path, filepath.Join(dir, r.file(number, a.Compression)), r, before); err != nil {
				return err
			}
		}
		return a.disk.remove(path)
	}
	return fmt.Errorf("%d logs of that name are in the archive", maxNumber)
}

// write writes a complete log to an unused name. If there is a command for archived logs,
// the log is put on its list before it gets its name.
func (a *archiver) write(ctx context.Context, from, to string, r rotated, before fs.FileInfo) error {
	tmp := filepath.Join(filepath.Dir(to), ".tmp."+filepath.Base(to))
	err := a.writeTemporary(ctx, from, tmp, r, before)
	if err == nil {
		err = a.pending.during(to, func() error { return a.disk.rename(tmp, to) })
	}
	if err != nil {
		_ = a.disk.remove(tmp) // on failure, the next attempt overwrites it
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
	size, err := a.Compression.encode(out, reader{ctx, in}, r)
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

// holdsAny is like holds, for the names of a log with every kind of compression: the setting
// may have changed after an attempt that did not remove the log from the queue.
func (a *archiver) holdsAny(ctx context.Context, dir string, number int, path string, r rotated) (there, same bool, err error) {
	for _, c := range compressions {
		exists, equal, err := a.holds(ctx, filepath.Join(dir, r.file(number, c)), path, r, c)
		if err != nil || equal {
			return exists, equal, err
		}
		there = there || exists
		if r.compressed() {
			break // the name is always the same
		}
	}
	return there, false, nil
}

// holds reports whether a file exists in the archive, and whether it contains
// the same log.
func (a *archiver) holds(ctx context.Context, archived, path string, r rotated, c Compression) (there, same bool, err error) {
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
	content, done, err := c.decode(reader{ctx, have}, r)
	if err != nil {
		return true, false, ctx.Err()
	}
	defer done()
	rest := comparer{bufio.NewReader(reader{ctx, log})}
	if _, err := io.Copy(rest, content); err != nil {
		// The file contains another log, or an incomplete one.
		return true, false, ctx.Err()
	}
	_, err = rest.log.ReadByte()
	return true, errors.Is(err, io.EOF), ctx.Err()
}

// comparer is a writer that fails if the data written differs from log.
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

// reader is a reader that fails once its context has ended.
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
