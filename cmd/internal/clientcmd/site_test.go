package clientcmd_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// siteController is a controller that keeps sites and a configuration.
type siteController struct {
	*fake.Controller
	store            *site.Store
	staged, deployed zeekapi.Configuration
	status           zeekapi.Status
	parts            int
	fail             func(part int) error // for a part of a site; nil for none
}

func newSiteController(t *testing.T) *siteController {
	t.Helper()
	c, err := fake.NewController(t.Context(), fake.Config{ScriptOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &siteController{Controller: c}
	if s.store, err = site.Open(site.StoreConfig{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	c.HandleRest(s.respond)
	return s
}

func (s *siteController) respond(_ context.Context, m zeekapi.Message) ([]zeekapi.Result, error) {
	switch m := m.(type) {
	case zeekapi.EventsRequest:
		return fake.Success([]zeekapi.ClusterEvent{}), nil
	case zeekapi.GetInstancesRequest:
		return fake.Success([]zeekapi.Instance{{Name: "agent-testhost", Host: netip.MustParseAddr("10.0.0.1")}}), nil
	case zeekapi.StatusRequest:
		return fake.Success(s.status), nil
	case zeekapi.UploadSiteRequest:
		if m.Data != "" {
			s.parts++
			if s.fail != nil {
				if err := s.fail(s.parts); err != nil {
					return nil, err
				}
			}
		}
		at, err := s.store.Append(m.SitePart)
		return fake.Success(at), err
	case zeekapi.DownloadSiteRequest:
		part, err := s.store.Read(m.Site, m.Offset, zeekapi.MaxSitePart)
		return fake.Success(part), err
	case zeekapi.StageConfigurationRequest:
		s.staged = m.Config
		return fake.Success(m.Config.ID), nil
	case zeekapi.DeployStagedRequest:
		s.deployed = s.staged
		return fake.Success(s.staged.ID), nil
	case zeekapi.DryRunRequest:
		return fake.Success(zeekapi.Diff{From: s.deployed.ID, To: m.Config.ID}), nil
	case zeekapi.GetConfigurationRequest:
		config := s.staged
		if m.Deployed {
			config = s.deployed
		}
		if config.ID == "" {
			return nil, errors.New("there is none")
		}
		return fake.Success(config), nil
	}
	return nil, errors.New("unexpected request")
}

// run runs a command of zeekwire.
func (s *siteController) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return runWithoutAdvice(t, s.Controller, args...)
}

// runWithoutAdvice runs a command of zeekwire and omits the warnings about roles that
// the small clusters of these tests do not have.
func runWithoutAdvice(t *testing.T, c *fake.Controller, args ...string) outcome {
	t.Helper()
	got := runCommand(t, &clientcmd.Tool{Dial: inProcess(c), Extended: true}, "", args...)
	got.stderr = regexp.MustCompile(`(?m)^warning: no node is a .*\n`).ReplaceAllString(got.stderr, "")
	return got
}

// siteFiles creates a cluster file and its site, and returns their directory.
func siteFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "cluster.cfg", "[cluster]\nsite = site\nscripts = local.zeek\n\n[manager]\nrole = manager\nscripts = extra.zeek\n")
	put(t, dir, "site/local.zeek", "one\ntwo\n")
	return dir
}

func put(t *testing.T, dir, name, content string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, dir string) *site.Packed {
	t.Helper()
	p, err := site.Pack(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSiteIsDeployed(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	file := filepath.Join(dir, "cluster.cfg")
	p := packed(t, filepath.Join(dir, "site"))
	if got := s.run(t, "deploy-config", file); got.exit != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	if s.deployed.Site != p.ID || !s.store.Have(p.ID).Complete {
		t.Errorf("deployed the site %s, want %s", s.deployed.Site, p.ID)
	}
	if diff := cmp.Diff([]string{"local.zeek", "extra.zeek"}, s.deployed.Nodes[0].Scripts); diff != "" {
		t.Error(diff)
	}
	// What the controller has is not uploaded again.
	if got := s.run(t, "stage-config", file); got.exit != 0 || s.parts != 1 {
		t.Errorf("%d parts, %+v", s.parts, got)
	}
	// get-config names the site, in a form that can be deployed anywhere.
	got := s.run(t, "get-config", "--deployed")
	want := "[instances]\nagent-testhost\n\n[cluster]\nsite = sha256:" + p.ID + "\nscripts = local.zeek\n\n" +
		"[manager]\ninstance = agent-testhost\nrole = MANAGER\nscripts = extra.zeek\n\n"
	if diff := cmp.Diff(want, got.stdout); diff != "" {
		t.Error(diff)
	}
	elsewhere := t.TempDir()
	put(t, elsewhere, "again.cfg", got.stdout)
	before := s.deployed
	if got := s.run(t, "deploy-config", filepath.Join(elsewhere, "again.cfg")); got.exit != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	s.deployed.ID = before.ID
	if diff := cmp.Diff(before.Nodes, s.deployed.Nodes); diff != "" || s.deployed.Site != p.ID {
		t.Errorf("site %s, %s", s.deployed.Site, diff)
	}
	// zeek-client knows no sites.
	got = runCommand(t, &clientcmd.Tool{Dial: inProcess(s.Controller)}, "", "-v", "get-config", "--deployed")
	if want := "[instances]\nagent-testhost\n\n[manager]\ninstance = agent-testhost\nrole = MANAGER\nscripts = extra.zeek local.zeek\n\n"; got.stdout != want ||
		!strings.Contains(got.stderr, "warning: the configuration has a site") {
		t.Errorf("%+v", got)
	}
	got = runCommand(t, &clientcmd.Tool{Dial: inProcess(s.Controller)}, "", "deploy-config", file)
	if !strings.Contains(got.stderr, `invalid node "cluster" configuration: node requires a role`) || got.exit != 1 {
		t.Errorf("%+v", got)
	}
}

// TestSiteFlag overrides the site of a file.
func TestSiteFlag(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	put(t, dir, "other/x.zeek", "x\n")
	put(t, dir, "none.cfg", "[manager]\nrole = manager\n")
	put(t, dir, "bad.cfg", "[cluster]\nsite = missing\n[manager]\nrole = manager\n")
	other := filepath.Join(dir, "other")
	p := packed(t, other)
	for _, file := range []string{"cluster.cfg", "none.cfg", "bad.cfg"} {
		s.staged = zeekapi.Configuration{}
		if got := s.run(t, "stage-config", "--site", other, filepath.Join(dir, file)); got.exit != 0 || s.staged.Site != p.ID {
			t.Errorf("%s: staged the site %s, %+v", file, s.staged.Site, got)
		}
	}
	// Standard input is relative to the working directory.
	t.Chdir(dir)
	got := runCommand(t, &clientcmd.Tool{Dial: inProcess(s.Controller), Extended: true}, "[cluster]\nsite = ./other\n[m]\nrole = manager\n", "stage-config", "-")
	if got.exit != 0 || s.staged.Site != p.ID {
		t.Errorf("staged the site %s, %+v", s.staged.Site, got)
	}
	if got := s.run(t, "diff", "--site", other); got.exit != 2 || !strings.Contains(got.stderr, "--site requires FILE") {
		t.Errorf("%+v", got)
	}
}

// TestSiteErrors has errors of the file system and of the controller.
func TestSiteErrors(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	file := filepath.Join(dir, "cluster.cfg")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "site/a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../x", filepath.Join(dir, "site/b")); err != nil {
		t.Fatal(err)
	}
	s.run(t, "deploy-config", file).want(t, outcome{exit: 1, stderr: `error: site "site": "a" is a symbolic link with an absolute target: "/etc/passwd" (` + file + `:2)
error: site "site": "b" is a symbolic link that leaves the site: "../x" (` + file + `:2)
error: configuration has errors, not sending
`})
	missing := filepath.Join(dir, "missing")
	s.run(t, "deploy-config", "--site", missing, file).want(t, outcome{exit: 1,
		stderr: "error: site " + missing + ": no such file or directory (" + missing + ")\nerror: configuration has errors, not sending\n"})
	id := strings.Repeat("0", 64)
	put(t, dir, "id.cfg", "[cluster]\nsite = sha256:"+id+"\n[m]\nrole = manager\n")
	got := s.run(t, "deploy-config", filepath.Join(dir, "id.cfg"))
	if want := "does not have the site " + id + "; name its directory with --site\n"; got.exit != 1 || !strings.HasSuffix(got.stderr, want) {
		t.Errorf("%+v", got)
	}
	s.fail = func(int) error { return errors.New("the disk is full") }
	put(t, dir, "other/x.zeek", "x\n")
	s.run(t, "deploy-config", "--site", filepath.Join(dir, "other"), file).want(t, outcome{exit: 1, stderr: "error: the disk is full\n"})
	if s.staged.ID != "" {
		t.Error("something was staged")
	}
	// Zeek's controller does not know any of these requests.
	zeeks, err := fake.NewController(t.Context(), fake.Zeek("8.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer zeeks.Close()
	got = runWithoutAdvice(t, zeeks, "deploy-config", "--site", filepath.Join(dir, "other"), file)
	if got.exit != 1 || !strings.Contains(got.stderr, "knows nothing of sites") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUploadIsResumed loses the connection during an upload.
func TestUploadIsResumed(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	data := make([]byte, 3*zeekapi.MaxSitePart)
	rand.Read(data)
	put(t, dir, "site/data", string(data))
	file := filepath.Join(dir, "cluster.cfg")
	s.fail = func(part int) error {
		if part == 2 || part == 4 {
			return fake.ErrDisconnect
		}
		return nil
	}
	got := s.run(t, "--set", "client.peering_retry_delay_secs=0.01", "-vv", "deploy-config", file)
	if got.exit != 0 || s.parts != 6 || strings.Count(got.stderr, "lost the connection") != 2 {
		t.Errorf("%d parts, %+v", s.parts, got)
	}
	// A controller that gets nothing done is given up.
	put(t, dir, "site/data", string(data[1:]))
	s.fail = func(int) error { return fake.ErrDisconnect }
	got = s.run(t, "--set", "client.peering_retry_delay_secs=0.01", "deploy-config", file)
	if got.exit != 1 || !strings.Contains(got.stderr, "no response received") || s.parts != 11 {
		t.Errorf("%d parts, %+v", s.parts, got)
	}
}

// TestUploadProgress shows how much of a site is uploaded, on a terminal.
func TestUploadProgress(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	data := make([]byte, 2*zeekapi.MaxSitePart)
	rand.Read(data)
	put(t, dir, "site/data", string(data))
	tool := &clientcmd.Tool{Dial: inProcess(s.Controller), Extended: true, Look: screen}
	got := runCommand(t, tool, "", "stage-config", filepath.Join(dir, "cluster.cfg"))
	for _, want := range []string{"Uploading the site: 0.0 KiB of 1.0 MiB", "Uploading the site: 512.0 KiB of 1.0 MiB"} {
		if got.exit != 0 || !strings.Contains(got.stderr, want) {
			t.Errorf("%q is missing: %+v", want, got)
		}
	}
}

func TestSiteDiff(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	file := filepath.Join(dir, "cluster.cfg")
	old := packed(t, filepath.Join(dir, "site"))
	if got := s.run(t, "diff", "--json=false", file); got.exit != 0 || got.stdout != "~ site (none) -> "+old.ID[:12]+"\n  + local.zeek\n" {
		t.Errorf("%+v", got)
	}
	if s.parts > 0 {
		t.Error("diff uploads something")
	}
	if got := s.run(t, "deploy-config", file); got.exit != 0 {
		t.Fatalf("%+v", got)
	}
	if got := s.run(t, "diff", "--json=false", "--strict-exit"); got.exit != 0 || got.stdout != "Nothing would change.\n" {
		t.Errorf("%+v", got)
	}
	put(t, dir, "site/local.zeek", "one\n2\n")
	put(t, dir, "site/new.zeek", "")
	put(t, dir, "site/binary", "\x00")
	new := packed(t, filepath.Join(dir, "site"))
	want := "~ site " + old.ID[:12] + " -> " + new.ID[:12] + `
  + binary
  ~ local.zeek
    --- a/local.zeek
    +++ b/local.zeek
    @@ -1,2 +1,2 @@
     one
    -two
    +2
  + new.zeek
`
	if got := s.run(t, "diff", "--json=false", "--strict-exit", file); got.exit != 3 || got.stdout != want {
		t.Errorf("exit %d, %s\n%s", got.exit, got.stderr, cmp.Diff(want, got.stdout))
	}
	got := s.run(t, "deploy-config", "--dry-run", file)
	for _, part := range []string{`"from": "` + old.ID + `"`, `"to": "` + new.ID + `"`, `"path": "local.zeek"`, `"diff": "--- a/local.zeek\n`, `"kind": "added"`} {
		if !strings.Contains(got.stdout, part) {
			t.Errorf("the JSON does not have %s: %s", part, got.stdout)
		}
	}
	// Both sites are the controller's.
	if got := s.run(t, "stage-config", file); got.exit != 0 {
		t.Fatalf("%+v", got)
	}
	if got := s.run(t, "diff", "--json=false"); got.exit != 0 || got.stdout != want {
		t.Errorf("%+v", got)
	}
	// Without a site in the file, the deployed one goes.
	put(t, dir, "none.cfg", "[manager]\nrole = manager\n")
	if got := s.run(t, "diff", "--json=false", filepath.Join(dir, "none.cfg")); got.stdout != "~ site "+old.ID[:12]+" -> (none)\n  - local.zeek\n" {
		t.Errorf("%+v", got)
	}
}

func TestCheckConfigWithSite(t *testing.T) {
	dir := siteFiles(t)
	t.Chdir(dir)
	put(t, dir, "cluster.cfg", "[cluster]\nsite = ./site\n\n[manager]\nrole = manager\n\n[logger]\nrole = logger\n\n[proxy]\nrole = proxy\n\n[worker]\nrole = worker\ninterface = lo\n")
	check := func(args ...string) outcome {
		return runCommand(t, &clientcmd.Tool{Extended: true}, "", append([]string{"check-config"}, args...)...)
	}
	check("cluster.cfg").want(t, outcome{stdout: "cluster.cfg: 0 errors, 0 warnings\n"})
	put(t, dir, "site/plugins/p/__zeek_plugin__", "Demo::P\n")
	put(t, dir, "site/plugins/p/lib/p.so", "")
	check("cluster.cfg").want(t, outcome{stdout: "site: warning: plugin Demo::P (plugins/p), built for an unknown version of Zeek on an unknown architecture; " +
		"it does not run with other versions of Zeek or on other architectures\ncluster.cfg: 0 errors, 1 warning\n"})
	check("--site", "missing", "cluster.cfg").want(t, outcome{exit: 1,
		stdout: "missing: error: site missing: no such file or directory\ncluster.cfg: 1 error, 0 warnings\n"})
	check("--site-size", "-1", "cluster.cfg").want(t, outcome{exit: 1, stdout: "cluster.cfg:2: error: site: limits are -1048576 bytes and 20000 files, " +
		"must not be negative\ncluster.cfg: 1 error, 0 warnings\n"})
	check("--site-files", "1", "cluster.cfg").want(t, outcome{exit: 1, stdout: "cluster.cfg:2: error: site site: the site has more than 1 files, " +
		"directories and links\ncluster.cfg: 1 error, 0 warnings\n"})
	put(t, dir, "cluster.cfg", "[cluster]\nsites = ./site\n")
	check("cluster.cfg").want(t, outcome{exit: 1,
		stdout: "cluster.cfg:2: error: section [cluster] has no key \"sites\", only args, backend, env, log_expiry, memory_limit, networks, scripts and site\ncluster.cfg: 1 error, 0 warnings\n"})
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := check("--site", "empty", "cluster.cfg"); got.exit != 1 || !strings.Contains(got.stdout, "there are no files in it") {
		t.Errorf("%+v", got)
	}
}

// An upload compares compiled plugins with the versions of Zeek of the instances.
func TestSiteWithPlugin(t *testing.T) {
	s := newSiteController(t)
	dir := siteFiles(t)
	put(t, dir, "site/p/__zeek_plugin__", "Demo::P\n")
	put(t, dir, "site/p/lib/p.so", "")
	file := filepath.Join(dir, "cluster.cfg")
	if got := s.run(t, "stage-config", file); got.exit != 0 || got.stderr != "" {
		t.Errorf("no version is known: %+v", got)
	}
	s.status.Instances = []zeekapi.InstanceStatus{{Instance: zeekapi.Instance{Name: "agent-testhost"}, Connected: true, Zeek: "8.2.2"}}
	const want = "warning: plugin Demo::P (p), built for an unknown version of Zeek on an unknown architecture, but instance agent-testhost runs Zeek 8.2.2\n"
	for _, command := range []string{"stage-config", "deploy-config"} {
		if got := s.run(t, command, file); got.exit != 0 || got.stderr != want {
			t.Errorf("%s: %+v", command, got)
		}
	}
}
