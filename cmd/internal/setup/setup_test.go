package setup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

func place(t *testing.T) Place {
	t.Helper()
	dir := t.TempDir()
	return Place{ConfigDir: filepath.Join(dir, "etc"), StateDir: filepath.Join(dir, "state"), Owner: ownedfile.Own()}
}

func bootstrap(t *testing.T) Bootstrap {
	t.Helper()
	return Bootstrap{
		Place: place(t), Hosts: []string{"10.0.0.1", "host-1"}, Client: "admin", Lifetime: authority.DefaultLifetime,
		Agents: []authority.Subject{{Kind: authority.Agent, Name: "host-1"}, {Kind: authority.Agent, Name: "sensor-2"}},
		Ports:  Ports{Agents: 2150, Clients: 2149, Join: 2148}, Local: "127.0.0.1", Output: t.TempDir(),
	}
}

// files returns all files below some directories with their contents.
func files(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all[path] = string(text)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return all
}

// A client reads paths as they are.
func TestClientSettings(t *testing.T) {
	const pair = "/srv/50%/client.pem"
	text, err := clientSettings("host", 2149, pair, "/srv/50%/ca.pem", "host:2148")
	if err != nil {
		t.Fatal(err)
	}
	f, err := configparser.Read("client.cfg", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Section("ssl").Option("keyfile").Value; got != pair {
		t.Errorf("key file %s from\n%s", got, text)
	}
	if _, err := clientSettings("host", 2149, pair+"\n#", "", ""); !errors.Is(err, configparser.ErrUnwritable) {
		t.Errorf("error %v", err)
	}
	if text, err := clientSettings("host", 2149, "/srv/a #1/client.pem", "", ""); err == nil || !strings.Contains(err.Error(), "cannot name this path") {
		t.Errorf("settings that a client refuses: %q, %v", text, err)
	}
}

func TestBootstrap(t *testing.T) {
	b := bootstrap(t)
	written, err := b.Run(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range written {
		names = append(names, w.Name)
	}
	for name := range files(t, b.ConfigDir, b.StateDir, b.Output) {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(name, n) }) {
			t.Errorf("%s is not reported", name)
		}
	}
	f, err := os.Open(filepath.Join(b.Output, "sensor-2.join"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j, err := enrol.ReadJoinFile(f)
	if err != nil || j.AgentAddress() != "10.0.0.1:2150" || j.JoinAddress() != "10.0.0.1:2148" || j.Name != "sensor-2" {
		t.Errorf("join file %v, %v", j, err)
	}
}

// Bootstrap changes nothing if it would overwrite a file, or contradict a setting.
func TestBootstrapIsRefused(t *testing.T) {
	write := func(name, text string) func(*Bootstrap) error {
		return func(b *Bootstrap) error {
			name := map[string]string{"etc": b.ConfigDir, "state": b.StateDir, "out": b.Output}[strings.Split(name, "/")[0]] + name[strings.Index(name, "/"):]
			return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600))
		}
	}
	for name, test := range map[string]struct {
		change func(*Bootstrap) error
		want   string
	}{
		"authority":                  {write("state/authority/ca-key.pem", ""), "file already exists"},
		"certificate":                {write("state/tls/controller.pem", ""), "file already exists"},
		"certificate of the client":  {write("state/tls/client.pem", ""), "file already exists"},
		"clients":                    {write("etc/clients", ""), "file already exists"},
		"settings of the client":     {write("etc/client.cfg", ""), "file already exists"},
		"join file":                  {write("out/sensor-2.join", ""), "file already exists"},
		"tls":                        {write("etc/controller.conf", "tls = off\n"), `sets tls to "off" already`},
		"long name of a setting":     {write("etc/controller.conf", "tls-options-websocket-ca-file = x\n"), "websocket-tls-ca"},
		"invalid settings":           {write("etc/controller.conf", "tls\n"), "NAME = VALUE"},
		"names":                      {func(b *Bootstrap) error { b.Client = "sensor-2"; return nil }, "two certificates"},
		"name of a client":           {func(b *Bootstrap) error { b.Client = "a/b"; return nil }, "slashes"},
		"name of an agent":           {func(b *Bootstrap) error { b.Agents[0].Name = "controller"; return nil }, "two certificates"},
		"no directory for join file": {func(b *Bootstrap) error { b.Output += "/none"; return nil }, "no such file"},
		"no hosts":                   {func(b *Bootstrap) error { b.Hosts = nil; return nil }, "needs a name"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bootstrap(t)
			if err := test.change(&b); err != nil {
				t.Fatal(err)
			}
			before := files(t, b.ConfigDir, b.StateDir, b.Output)
			_, err := b.Run(time.Now())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			after := files(t, b.ConfigDir, b.StateDir, b.Output)
			if len(after) != len(before) {
				t.Errorf("%d files before, %d after", len(before), len(after))
			}
			for name, text := range before {
				if after[name] != text {
					t.Errorf("%s changed", name)
				}
			}
		})
	}
}

// A bootstrap that fails halfway leaves nothing that hinders the next one.
func TestBootstrapAgain(t *testing.T) {
	b := bootstrap(t)
	b.Agents = append(b.Agents, authority.Subject{Kind: authority.Agent, Name: "sensor-3", Hosts: []string{"sensor-2"}})
	if _, err := b.Run(time.Now()); !errors.Is(err, authority.ErrNames) {
		t.Fatalf("got %v", err)
	}
	if left := files(t, b.ConfigDir, b.StateDir, b.Output); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	b.Agents = b.Agents[:2]
	if _, err := b.Run(time.Now()); err != nil {
		t.Error(err)
	}
}

// Settings are added to those that the package has installed, which keep their mode.
func TestAmend(t *testing.T) {
	p := place(t)
	if err := os.MkdirAll(p.ConfigDir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.ConfigDir, AgentFile)
	const before = "# comment\n#tls = anonymous\nname = x\nzeek = /opt/zeek/bin/zeek\n\n\n"
	if err := os.WriteFile(file, []byte(before), 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	a, err := p.amend(file, "Heading", []settings.Assignment{{Name: "name", Text: "x"}, {Name: "tls", Text: "mutual"}, {Name: "tls-ca", Text: "a # b"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	want := strings.TrimRight(before, "\n") + "\n\n# Heading\ntls = mutual\ntls-ca = \"a # b\"\n"
	if err != nil || string(text) != want {
		t.Errorf("got %q, want %q, %v", text, want, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A join file is used only if everything can be written.
func TestJoinChecksFirst(t *testing.T) {
	join := func(t *testing.T) Join {
		return Join{Place: place(t), File: enrol.JoinFile{Kind: authority.Agent, Name: "sensor-1", Host: "127.0.0.1", JoinPort: 1, AgentPort: 2, ClientPort: 3, Authority: "new"}}
	}
	for name, test := range map[string]struct {
		file, text string
		replace    bool
		want       string
	}{
		"certificate":       {file: "state/tls/agent.pem", want: "file already exists"},
		"another cluster":   {file: "state/tls/ca.pem", text: "old", want: "another cluster"},
		"another name":      {file: "etc/agent.conf", text: "name = sensor-2", want: "already"},
		"another name, too": {file: "etc/agent.conf", text: "name = sensor-2", replace: true, want: "already"},
		"directory":         {file: "state/tls", want: "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			j := join(t)
			j.Replace = test.replace
			file := filepath.Join(filepath.Dir(j.ConfigDir), test.file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(test.text), 0o600)); err != nil {
				t.Fatal(err)
			}
			_, err := j.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "refused") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := join(t).Run(t.Context()); err == nil {
		t.Error("no error without a controller")
	}
}
