package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdstore"
	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// copying is a test of "zeekwire store copy" with an etcd.
type copying struct {
	t    *testing.T
	etcd *etcdtest.Cluster
	dir  string
}

func (c *copying) path(name string) string { return filepath.Join(c.dir, name) }

// config returns the configuration of the store in etcd.
func (c *copying) config(name string) etcdstore.Config {
	return etcdstore.Config{Endpoints: c.etcd.Endpoints(), Prefix: "/copy", Lease: etcdstore.DefaultLease, Member: zeekapi.ControllerMember{Name: name}}
}

func (c *copying) copy(args ...string) (stdout, stderr string, code int) {
	return call(c.t.Context(), append([]string{"store", "copy", "--etcd-endpoints", strings.Join(c.etcd.Endpoints(), ","), "--etcd-prefix", "/copy"}, args...)...)
}

// must copies a state.
func (c *copying) must(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.copy(args...)
	if code != 0 || !strings.HasPrefix(stdout, "Copied ") {
		c.t.Fatalf("copy %q: exit code %d, %s%s", args, code, stdout, stderr)
	}
	return stdout
}

// refused checks that a copy fails with an error.
func (c *copying) refused(want string, args ...string) {
	c.t.Helper()
	if _, stderr, code := c.copy(args...); code != 1 || !strings.Contains(stderr, want) {
		c.t.Errorf("copy %q: exit code %d, %s, want %q", args, code, stderr, want)
	}
}

// file opens a state file.
func (c *copying) file(name string) *controller.FileStore {
	c.t.Helper()
	s, err := controller.OpenStore(c.path(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// expect checks the state in a file or, with an empty name, in etcd. It returns its term.
func (c *copying) expect(name string, want controller.State) uint64 {
	c.t.Helper()
	var got controller.State
	var err error
	if name == "" {
		got, _, err = etcdstore.Read(c.t.Context(), c.config("test"))
	} else {
		s := c.file(name)
		defer s.Close()
		got, err = s.Load()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, storetest.Equal); diff != "" {
		c.t.Errorf("%q: (-want +got)\n%s", name, diff)
	}
	return got.Term
}

// A state with everything in it, such as history, events, a job and stopped nodes,
// moves from a file to etcd, to another file, and back. Each copy begins a later term, so that
// agents obey the controller that uses it.
func TestStoreCopy(t *testing.T) {
	c := &copying{t, etcdtest.Start(t, 3), t.TempDir()}
	changes := storetest.Changes()
	want := controller.State{}.After(changes...)
	if len(want.History) == 0 || len(want.Events) == 0 || want.Job == nil || len(want.Configs) == 0 || len(want.Stopped) == 0 {
		t.Fatalf("a part of the state is missing: %+v", want)
	}
	one := c.file("one.db")
	if err := one.Save(changes...); err != nil {
		t.Fatal(err)
	}
	one.Close()
	c.refused("there is no state", "etcd", c.path("none.db"))
	if out := c.must(c.path("one.db"), "etcd"); !strings.Contains(out, "deployments") {
		t.Errorf("summary %q", out)
	}
	if _, err := os.Stat(c.path("sites")); err == nil {
		t.Error("a copy makes a directory beside its source")
	}
	first := c.expect("", want)
	c.refused("there is a state already", c.path("one.db"), "etcd")
	c.must("etcd", c.path("two.db"))
	second := c.expect("two.db", want)
	c.refused("there is a state already", "etcd", c.path("one.db"))
	// Another state returns to etcd, and replaces the first one entirely.
	two := c.file("two.db")
	smaller := controller.State{Term: second}.After(controller.Save{Slot: controller.Staged, Config: storetest.Configuration()})
	if err := two.Rewrite(smaller); err != nil {
		t.Fatal(err)
	}
	two.Close()
	c.must("--replace", c.path("two.db"), "etcd")
	third := c.expect("", smaller)
	if first == 0 || second <= first || third <= second {
		t.Errorf("terms %d, %d and %d", first, second, third)
	}
	c.must("--replace", "etcd", c.path("one.db"))
	c.expect("one.db", smaller)
}

// A state is read from etcd while a controller runs, and not written.
func TestStoreCopyWhileControllerRuns(t *testing.T) {
	c := &copying{t, etcdtest.Start(t, 1), t.TempDir()}
	web := peertest.FreeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan string, 1)
	go func() {
		_, stderr, _ := call(ctx, "controller", "--name", "c", "--state-dir", c.path("c"), "--tls", "off", "--listen", "none", "--websocket-listen", web,
			"--store", "etcd", "--etcd-endpoints", strings.Join(c.etcd.Endpoints(), ","), "--etcd-prefix", "/copy", "--etcd-lease", "2s")
		ended <- stderr
	}()
	defer func() {
		stop()
		if stderr := <-ended; t.Failed() {
			t.Log(stderr)
		}
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if state, ok, err := etcdstore.Read(t.Context(), c.config("test")); err == nil && ok && state.Term > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the controller does not lead")
		}
	}
	c.must("etcd", c.path("backup.db"))
	c.refused(`controller "c" is running`, "--replace", c.path("backup.db"), "etcd")
	stop()
	stderr := <-ended
	ended <- stderr
	c.must("--replace", c.path("backup.db"), "etcd")
}
