package clientcmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

const defaultSettings = `[client]
request_timeout_secs = 20
peering_attempts = 10
peering_retry_delay_secs = 1.0
rich_logging_format = False
pretty_json = True
verbosity = 0

[controller]
host = 127.0.0.1
port = 2149

[ssl]
enable = False
certificate = 
keyfile = 
cafile = 
capath = 
passphrase = 

`

func TestSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zeek-client.cfg")
	if err := os.WriteFile(file, []byte("[controller]\nhost = file\nport = 1\n[client]\nverbosity = %(peering_attempts)s\n[new]\nKey = x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty.cfg")
	if err := os.WriteFile(empty, []byte("[client]\n[none]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	tests := []struct {
		name string
		env  map[string]string
		args []string
		from []string // pairs of an old and a new text in the defaults
	}{
		{name: "default values"},
		{name: "missing file", args: []string{"-c", "/nonexistent"}},
		{
			name: "file", args: []string{"--configfile", file},
			from: []string{"host = 127.0.0.1", "host = file", "2149", "1", "verbosity = 0", "verbosity = %(peering_attempts)s",
				"passphrase = \n", "passphrase = \n\n[new]\nkey = x\n"},
		},
		{
			name: "precedence of file, environment and flags",
			env:  map[string]string{"ZEEK_CLIENT_CONFIG_FILE": file, "ZEEK_CLIENT_CONFIG_SETTINGS": `client.verbosity=4 controller.port=2 'new.KEY=a b'`},
			args: []string{"--set", "controller.port=3", "--set", "other.x=a=b.c"},
			from: []string{"host = 127.0.0.1", "host = file", "2149", "3", "verbosity = 0", "verbosity = 4",
				"passphrase = \n", "passphrase = \n\n[new]\nkey = a b\n\n[other]\nx = a=b.c\n"},
		},
		{name: "controller flag overrides settings", args: []string{"--set", "controller.host=x", "--controller", "[::1]:5"}, from: []string{"127.0.0.1", "[::1]", "2149", "5"}},
		{name: "malformed references", args: []string{"-q", "--set", "client.a=%", "--set", "client.b=%x", "--set", "client.c=%(x)"}},
		{name: "percent signs", args: []string{"--set", "new.a=%%(", "--set", "new.b=%(a)s"},
			from: []string{"passphrase = \n", "passphrase = \n\n[new]\na = %%(\nb = %(a)s\n"}},
		{
			name: "transport, dialect and hidden token", env: map[string]string{"ZEEKWIRE_TOKEN": "secret"},
			args: []string{"--transport", "native", "--dialect=cluster"},
			from: []string{"verbosity = 0\n", "verbosity = 0\ntoken = (hidden)\ntransport = native\ndialect = cluster\n"},
		},
		{name: "token as a setting", args: []string{"--set", "client.token=secret"}, from: []string{"verbosity = 0\n", "verbosity = 0\ntoken = (hidden)\n"}},
		{name: "empty section", args: []string{"-c", empty}, from: []string{"passphrase = \n", "passphrase = \n\n[none]\n"}},
		{name: "verbose", args: []string{"-vvv"}, from: []string{"verbosity = 0", "verbosity = 3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			env = test.env
			tool := &clientcmd.Tool{Getenv: func(key string) string { return env[key] }}
			want := strings.NewReplacer(test.from...).Replace(defaultSettings)
			runCommand(t, tool, "", append(test.args, "show-settings")...).want(t, outcome{stdout: want})
		})
	}
}

// TestDefaultSettingsFile checks that the installed settings file is used if neither
// the environment nor a flag names another one.
func TestDefaultSettingsFile(t *testing.T) {
	dir := t.TempDir()
	installed, other := filepath.Join(dir, "zeek-client.cfg"), filepath.Join(dir, "other.cfg")
	for file, port := range map[string]string{installed: "1", other: "2"} {
		if err := os.WriteFile(file, []byte("[controller]\nport = "+port+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		env, want string
		args      []string
	}{{"", "1", nil}, {other, "2", nil}, {"", "2", []string{"-c", other}}} {
		tool := &clientcmd.Tool{ConfigFile: installed, Getenv: func(key string) string {
			if key == "ZEEK_CLIENT_CONFIG_FILE" {
				return test.env
			}
			return ""
		}}
		want := strings.Replace(defaultSettings, "2149", test.want, 1)
		runCommand(t, tool, "", append(test.args, "show-settings")...).want(t, outcome{stdout: want})
	}
}

// Values that a file cannot have are shown as they are.
func TestShowUnusualSettings(t *testing.T) {
	got := runCommand(t, &clientcmd.Tool{Extended: true, Getenv: func(string) string { return "" }}, "", "--set", "ssl.passphrase=a ", "show-settings")
	if !strings.Contains(got.stdout, "\npassphrase = a \n") || got.exit != 0 {
		t.Errorf("exit code %d, %s%s", got.exit, got.stdout, got.stderr)
	}
}

// A configuration that INI cannot have is shown as JSON.
func TestShowUnwritableConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	text := `{"instances": [{"name": "i"}], "nodes": [{"name": "n", "instance": "i", "role": "WORKER", "env": {"E": "x\n#y"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := &clientcmd.Tool{Extended: true, Getenv: func(string) string { return "" }}
	if got := runCommand(t, tool, "", "show-config", file); got.exit != 1 || !strings.HasSuffix(got.stderr, "; --json prints it as JSON\n") {
		t.Errorf("exit code %d, %s", got.exit, got.stderr)
	}
	if got := runCommand(t, tool, "", "show-config", "--json", file); got.exit != 0 || !strings.Contains(got.stdout, `"x\n#y"`) {
		t.Errorf("exit code %d, %s%s", got.exit, got.stdout, got.stderr)
	}
}

func TestInvalidSettings(t *testing.T) {
	const settings = "ZEEK_CLIENT_CONFIG_SETTINGS"
	for _, test := range []struct {
		name, file, env string
		args            string
		exit            int
		stderr          string
	}{
		{"setting without section", "x = 1\n", "", "show-settings", 1, "error: \"x = 1\" appears before the first section, such as [instances] (FILE:1)\n"},
		{"setting without value", "[client]\nverbosity\n\n[new]\nx\n", "", "show-settings", 1,
			"error: setting client.verbosity needs a value (FILE:2)\nerror: setting new.x needs a value (FILE:5)\n"},
		{"invalid values", "[client]\nverbosity = 1\npretty_json = maybe\n", "controller.port=x", "get-nodes", 1,
			"error: setting client.pretty_json is \"maybe\", want a boolean, such as yes or no (FILE:3)\n" +
				"error: setting controller.port is \"x\", want an integer (" + settings + ")\n"},
		{"unknown reference", "[controller]\nhost = %(hots)s\n", "", "get-nodes", 1,
			"error: value of controller.host: reference to the key \"hots\", which does not exist (FILE:2)\n"},
		{"invalid items", "", ".a=b client.=c", "--set DEFAULT.a=b --set client.=d show-settings", 0,
			"error: config item \".a=b\" in " + settings + " invalid. Please use <section.key>=<val>.\n" +
				"error: config item \"client.=c\" in " + settings + " invalid. Please use <section.key>=<val>.\n" +
				"error: config item \"DEFAULT.a=b\" invalid. Please use <section.key>=<val>.\n" +
				"error: config item \"client.=d\" invalid. Please use <section.key>=<val>.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "s.cfg")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			tool := &clientcmd.Tool{Getenv: func(key string) string { return map[string]string{settings: test.env}[key] }}
			want := outcome{exit: test.exit, stderr: strings.ReplaceAll(test.stderr, "FILE", file)}
			if test.exit == 0 {
				want.stdout = defaultSettings
			}
			runCommand(t, tool, "", append([]string{"-c", file}, strings.Fields(test.args)...)...).want(t, want)
		})
	}
}

// TestUnknownSettings checks that zeekwire refuses or reports settings that do not exist
// and comments that are part of a value, which zeek-client ignores.
func TestUnknownSettings(t *testing.T) {
	const settings = "ZEEK_CLIENT_CONFIG_SETTINGS"
	for _, test := range []struct {
		name, file, env string
		args            string
		exit            int
		stderr          string
	}{
		{"misspelled --set", "", "", "--set client.requst_timeout_secs=7 show-settings", 2,
			"error: --set \"client.requst_timeout_secs=7\": unknown setting client.requst_timeout_secs, did you mean client.request_timeout_secs?\n"},
		{"unknown --set", "", "", "--set colour.x=7 --set Client.port=3 show-settings", 2,
			"error: --set \"colour.x=7\": unknown setting colour.x, see \"zeekwire show-settings\"\n" +
				"error: --set \"Client.port=3\": unknown setting Client.port, see \"zeekwire show-settings\"\n"},
		{"malformed --set", "", "", "--set client.port show-settings", 2, "error: --set \"client.port\": want SECTION.KEY=VALUE\n"},
		{"case of a key", "", "", "--set client.Verbosity=0 show-settings", 0, ""},
		{"file and environment", "[controller]\nhots = h\n[client]\nlevel = 0\nverbosity = %(level)s\n", "ssl.enabled=no", "show-settings", 0,
			"warning: unknown setting ssl.enabled, did you mean ssl.enable? (" + settings + ")\n" +
				"warning: unknown setting controller.hots, did you mean controller.host? (FILE:2)\n"},
		{"inherited", "[DEFAULT]\nx = 1\n[controller]\nhost = h\n", "", "show-settings", 0, ""},
		{"comment", "[controller]\nhost = 10.0.0.1 # the lab\n\tport = 47 ; not 2149\n", "", "show-settings", 1,
			"error: \"# the lab\" is part of the value of host; a comment must be on a line of its own (FILE:2:17)\n" +
				"error: \"port = 47 ; not 2149\" continues the value of host, because it is indented more than that; give all keys the same indentation (FILE:3:2)\n" +
				"error: \"; not 2149\" is part of the value of host; a comment must be on a line of its own (FILE:3:12)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "s.cfg")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			tool := &clientcmd.Tool{Extended: true, Getenv: func(key string) string { return map[string]string{settings: test.env}[key] }}
			got := runCommand(t, tool, "", append([]string{"-c", file}, strings.Fields(test.args)...)...)
			if want := strings.ReplaceAll(test.stderr, "FILE", file); got.exit != test.exit || got.stderr != want {
				t.Errorf("exit code %d and %q, want %d and %q", got.exit, got.stderr, test.exit, want)
			}
		})
	}
}
