package disktest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a file system of its own, in memory.
type Disk struct {
	Dir string // where it is mounted
	t   testing.TB
}

// New mounts a file system with a size in KiB and a number of inodes, 0 for the default,
// in a temporary directory. It is unmounted at the end of the test. See Isolated and Main.
func New(t testing.TB, size, inodes int) *Disk {
	t.Helper()
	return At(t, t.TempDir(), size, inodes)
}

// At is like New, but mounts the file system in a directory that exists.
func At(t testing.TB, dir string, size, inodes int) *Disk {
	t.Helper()
	if reason := os.Getenv(isolated); reason != inNamespace {
		t.Skip(notTested(reason))
	}
	options := fmt.Sprintf("size=%dk", size)
	if inodes > 0 {
		options += fmt.Sprintf(",nr_inodes=%d", inodes)
	}
	d := &Disk{Dir: dir, t: t}
	if err := d.mount(0, options); err != nil {
		t.Skip(notTested(fmt.Sprintf("it cannot be mounted: %v", err)))
	}
	t.Cleanup(d.Unmount)
	return d
}

func (d *Disk) mount(flags uintptr, options string) error {
	return syscall.Mount("tmpfs", d.Dir, "tmpfs", flags, options)
}

// Unmount removes the file system from its directory. Open files can still be used. A
// second call does nothing.
func (d *Disk) Unmount() {
	d.t.Helper()
	if d.Dir == "" {
		return
	}
	if err := syscall.Unmount(d.Dir, syscall.MNT_DETACH); err != nil {
		d.t.Error(err)
	}
	d.Dir = ""
}

// Resize gives the file system another size, in KiB.
func (d *Disk) Resize(size int) {
	d.t.Helper()
	if err := d.mount(syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", size)); err != nil {
		d.t.Fatal(err)
	}
}

// Fill leaves no room. The returned function frees it.
func (d *Disk) Fill() (free func()) {
	d.t.Helper()
	name := filepath.Join(d.Dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return func() { os.Remove(name) }
}

// UseInodes leaves no inode. The returned function frees them.
func (d *Disk) UseInodes() (free func()) {
	var names []string
	for {
		name := filepath.Join(d.Dir, fmt.Sprint("inode", len(names)))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			break
		}
		names = append(names, name)
	}
	return func() {
		for _, name := range names {
			os.Remove(name)
		}
	}
}

// SetReadOnly makes the file system read-only, or writable. No file may be open for
// writing.
func (d *Disk) SetReadOnly(on bool) {
	d.t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if on {
		flags |= syscall.MS_RDONLY
	}
	if err := d.mount(flags, ""); err != nil {
		d.t.Fatal(err)
	}
}
