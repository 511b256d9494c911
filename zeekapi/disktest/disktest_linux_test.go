package disktest_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/disktest"
)

func TestDisk(t *testing.T) {
	if !disktest.Isolated(t) {
		return
	}
	d := disktest.New(t, 256, 20)
	create := func(text string) error { return os.WriteFile(filepath.Join(d.Dir, "file"), []byte(text), 0o600) }
	remove := func() { os.Remove(filepath.Join(d.Dir, "file")) }
	refuses := func(want error) {
		t.Helper()
		if err := create("text"); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		remove()
	}
	free := d.Fill()
	refuses(syscall.ENOSPC)
	free()
	free = d.UseInodes()
	refuses(syscall.ENOSPC)
	free()
	d.SetReadOnly(true)
	refuses(syscall.EROFS)
	d.SetReadOnly(false)
	if err := create(string(make([]byte, 512<<10))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a file of 512 KiB: %v", err)
	}
	d.Resize(1024)
	if err := create(string(make([]byte, 512<<10))); err != nil {
		t.Error(err)
	}
	dir := d.Dir
	d.Unmount()
	if _, err := os.Stat(filepath.Join(dir, "file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the unmount: %v", err)
	}
}
