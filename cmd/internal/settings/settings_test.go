package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/zeekwire/zeekwire/broker"
)

// example has a setting of every kind.
type example struct {
	name    string
	color   string
	fast    bool
	count   int
	wait    time.Duration
	port    *broker.Port
	base    broker.Port
	friends string

	*Table
}

func newExample() *example {
	e := &example{color: "red", count: 3, wait: time.Second, base: broker.TCP(80), Table: NewTable("test")}
	e.Group("All of them")
	e.Add(
		Setting{Name: "name", Help: "a `NAME`", Value: Text(&e.name), Common: true, Env: []Variable{{Name: "ZEEK_NAME"}, {Name: "ZEEK_OLD_NAME"}}},
		Setting{Name: "color", Help: "the color", Reload: true, Value: Choice(&e.color, "red", "green", "blue")},
		Setting{Name: "fast", Help: "whether", Value: Bool(&e.fast), Zeek: "Test::fast"},
		Setting{Name: "count", Help: "how many", Value: Count(&e.count, 1, 10)},
		Setting{Name: "wait", Help: "how long", Value: Duration(&e.wait, time.Millisecond), Env: []Variable{{Name: "ZEEK_WAIT", Convert: Seconds}}},
		Setting{Name: "port", Help: "where", Value: OptionalPort(&e.port)},
		Setting{Name: "default-port", Help: "where else", Value: Port(&e.base)},
		Setting{Name: "friends", Help: "who", Value: Text(&e.friends)},
	)
	e.AddShorthand(Shorthand{Name: "all", Help: "name and color", Expand: func(s string) ([]Assignment, error) {
		name, color, ok := strings.Cut(s, ":")
		if !ok {
			return nil, fmt.Errorf("want NAME:COLOR")
		}
		return []Assignment{{"name", name}, {"color", color}}, nil
	}})
	return e
}

// load loads the example from these sources.
func load(t *testing.T, file string, env map[string]string, args ...string) (*example, error) {
	t.Helper()
	e := newExample()
	var flags Flags
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(fs, newExample().Table)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		file = write(t, file)
	}
	return e, e.Load(file, func(name string) string { return env[name] }, &flags)
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "test.conf")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func texts(t *Table) map[string]string {
	m := make(map[string]string)
	for _, s := range t.All() {
		m[s.Name] = s.Value.String()
	}
	return m
}

func TestPrecedence(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		env  map[string]string
		args []string
		want map[string]string // settings that differ from the defaults
	}{
		{name: "defaults"},
		{name: "file", file: "color = blue\n", want: map[string]string{"color": "blue"}},
		{name: "environment over file", file: "color = blue\n", env: map[string]string{"ZEEKWIRE_TEST_COLOR": "green"}, want: map[string]string{"color": "green"}},
		{name: "flag over environment", env: map[string]string{"ZEEKWIRE_TEST_COLOR": "green"}, args: []string{"--color", "blue"}, want: map[string]string{"color": "blue"}},
		{name: "Zeek's variable", env: map[string]string{"ZEEK_NAME": "a", "ZEEK_OLD_NAME": "b"}, want: map[string]string{"name": "a"}},
		{name: "Zeek's second variable", env: map[string]string{"ZEEK_NAME": "", "ZEEK_OLD_NAME": "b"}, want: map[string]string{"name": "b"}},
		{name: "ours over Zeek's", env: map[string]string{"ZEEK_NAME": "a", "ZEEKWIRE_TEST_NAME": "b"}, want: map[string]string{"name": "b"}},
		{name: "converted variable", env: map[string]string{"ZEEK_WAIT": "90"}, want: map[string]string{"wait": "1m30s"}},
		{name: "shorthand over file", file: "color = blue\n", args: []string{"--all", "a:green"}, want: map[string]string{"name": "a", "color": "green"}},
		{name: "shorthand over Zeek's variable", env: map[string]string{"ZEEK_NAME": "a", "ZEEKWIRE_TEST_ALL": "b:red"}, want: map[string]string{"name": "b"}},
		{name: "shorthand in the file, part of it overruled", file: "all = a:green", args: []string{"--color=red"}, want: map[string]string{"name": "a"}},
		{name: "last of two flags", args: []string{"--color", "blue", "--color", "green"}, want: map[string]string{"color": "green"}},
		{name: "flag without argument", args: []string{"--fast"}, want: map[string]string{"fast": "true"}},
		{name: "as in Zeek", file: "fast = T\nport = 47760/tcp\n", want: map[string]string{"fast": "true", "port": "47760/tcp"}},
		{name: "ports", file: "port = 0/unknown\ndefault-port = 81\n", want: map[string]string{"port": "none", "default-port": "81/tcp"}},
		{name: "comments", file: "\ufeff# first\r\n\n  name = a#b  # c\r\ncolor = blue\t#x\nfriends=#none\n", want: map[string]string{"name": "a#b", "color": "blue"}},
		{name: "quotes", file: `name = " # \"a\"\n"# b` + "\n", want: map[string]string{"name": " # \"a\"\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := load(t, tt.file, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			want := texts(newExample().Table)
			for name, text := range tt.want {
				want[name] = text
			}
			if diff := cmp.Diff(want, texts(e.Table)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		file string
		env  map[string]string
		args []string
		want []string // after the directory of the file
	}{
		{name: "all errors together", file: "colour = red\ncount = 11\n\nwait = soon\n",
			env: map[string]string{"ZEEKWIRE_TEST_FAST": "maybe", "ZEEK_WAIT": "-1"}, args: []string{"--port", "80/udp"},
			want: []string{
				`test.conf:1: colour: unknown setting, did you mean color?`,
				`test.conf:2: count "11": want an integer from 1 to 10`,
				`test.conf:4: wait "soon": want a time such as 90s, 5m or 1h`,
				`ZEEK_WAIT "-1": want a number of seconds`,
				`ZEEKWIRE_TEST_FAST "maybe": want true or false`,
				`--port "80/udp": want a port such as 2150/tcp, or none`,
			}},
		{name: "syntax", file: "name\n[section]\n= x\nname = \"a\nname = \"a\" b\n\x00\n\xff\n",
			want: []string{
				`test.conf:1: "name": want NAME = VALUE`,
				`test.conf:2: "[section]": want NAME = VALUE`,
				`test.conf:3: "= x": want NAME = VALUE`,
				`test.conf:4: name: no closing quote, or a bad escape`,
				`test.conf:5: name: "b" follows the closing quote`,
				`test.conf:6: control character in line`,
				`test.conf:7: not UTF-8`,
			}},
		{name: "in the order of lines", file: "name\ncount = 11\n[section]\ncolour = red\n",
			want: []string{
				`test.conf:1: "name": want NAME = VALUE`,
				`test.conf:2: count "11": want an integer from 1 to 10`,
				`test.conf:3: "[section]": want NAME = VALUE`,
				`test.conf:4: colour: unknown setting, did you mean color?`,
			}},
		{name: "duplicates", file: "name = a\nall = b:red\nname = c\n",
			want: []string{
				`test.conf:2: all: name is already set by test.conf:1: name`,
				`test.conf:3: name: name is already set by test.conf:1: name`,
			}},
		{name: "comments of other files", file: "name = a ; b\nname = ;c\nname = \"a ; b\" # quoted\n",
			want: []string{
				`test.conf:1: name: a comment begins with #; put a value with a semicolon in quotes`,
				`test.conf:2: name: a comment begins with #; put a value with a semicolon in quotes`,
			}},
		{name: "spelling of Zeek", file: "default_port = 1\nDefault-Port = 1\n",
			want: []string{
				`test.conf:1: default_port: unknown setting, did you mean default-port?`,
				`test.conf:2: Default-Port: unknown setting, did you mean default-port?`,
			}},
		{name: "no similar setting", file: "certificate = a\n", want: []string{`test.conf:1: certificate: unknown setting`}},
		{name: "choice", args: []string{"--color="}, want: []string{`--color "": want red, green or blue`}},
		{name: "duration", args: []string{"--wait=0"}, want: []string{`--wait "0": want at least 1ms`}},
		{name: "shorthand", args: []string{"--all=x"}, want: []string{`--all "x": want NAME:COLOR`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, tt.env, tt.args...)
			list, ok := err.(Errors)
			if !ok {
				t.Fatalf("%T: %v", err, err)
			}
			var got []string
			for _, err := range list {
				text := err.Error()
				text = strings.ReplaceAll(text, directory(text), "")
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// directory returns the text of an error before the name of the file.
func directory(text string) string {
	before, _, ok := strings.Cut(text, "test.conf")
	if !ok {
		return "\x00"
	}
	return before
}

func TestFileErrors(t *testing.T) {
	e := newExample()
	err := e.Load(filepath.Join(t.TempDir(), "missing"), os.Getenv, nil)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	utf16 := write(t, "\xff\xfen\x00a\x00m\x00e\x00")
	if err := e.Load(utf16, os.Getenv, nil); err == nil || !strings.Contains(err.Error(), "the file is UTF-16; save it as UTF-8") {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := e.Load(dir, os.Getenv, nil); err == nil || err.Error() != "settings file "+dir+": is a directory" {
		t.Error(err)
	}
	large := write(t, "name = "+strings.Repeat("x", maxFile))
	if err := e.Load(large, os.Getenv, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Error(err)
	}
}

func TestPrintedSettingsLoadAgain(t *testing.T) {
	for _, name := range []string{"", "a", " a ", "# a", "a # b", `"`, `a"b`, "a\nb\x00", "\xff", "\u00a0a", "a\\b"} {
		e, err := load(t, "", nil, "--name", name, "--fast", "--port=none", "--friends=a, b", "--wait=90s")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := e.Print(&b); err != nil {
			t.Fatal(err)
		}
		again, err := load(t, b.String(), nil)
		if err != nil {
			t.Errorf("name %q: %v\n%s", name, err, b.String())
			continue
		}
		if diff := cmp.Diff(texts(e.Table), texts(again.Table)); diff != "" {
			t.Errorf("name %q: -printed +loaded\n%s", name, diff)
		}
	}
}

func TestPrintShowsOrigins(t *testing.T) {
	e, err := load(t, "color = blue\n", map[string]string{"ZEEK_NAME": "a"}, "--fast")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := e.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## All of them\n\n# a NAME\nname = a                                 # ZEEK_NAME\n",
		"test.conf:1: color\n",
		"# whether\n# Zeek: Test::fast\nfast = true                              # --fast\n",
		"count = 3                                # default\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestSampleHasDefaults(t *testing.T) {
	e, err := load(t, "count = 7\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := e.Sample(&b); err != nil {
		t.Fatal(err)
	}
	// A "#" directly before a name disables a setting.
	for _, text := range []string{b.String(), regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(b.String(), "$1")} {
		again, err := load(t, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(texts(newExample().Table), texts(again.Table)); diff != "" {
			t.Errorf("-default +sample\n%s", diff)
		}
	}
}

func TestNeedRestart(t *testing.T) {
	before, _ := load(t, "", nil)
	after, _ := load(t, "count = 7\nname = x\ncolor = blue\n", nil)
	if diff := cmp.Diff([]string{"name", "count"}, NeedRestart(before.Table, after.Table)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWrong(t *testing.T) {
	e, _ := load(t, "", nil, "--name=x")
	if got := e.Wrong("name", "too %s", "short").Error(); got != `--name "x": too short` {
		t.Error(got)
	}
	if got := e.Wrong("color", "too bright").Error(); got != `color "red": too bright` {
		t.Error(got)
	}
}

func TestStrays(t *testing.T) {
	var got []string
	for _, err := range newExample().Strays([]string{
		"HOME=/", "ZEEK_NAME=a", "ZEEKWIRE=b", "ZEEKWIRE_TEST_NAME=b", "ZEEKWIRE_TEST_DEFAULT_PORT=1", "ZEEKWIRE_TEST_ALL=a:red",
		"ZEEKWIRE_TEST_COLOUR=red", "ZEEKWIRE_TSET_COLOR=red", "ZEEKWIRE_FRIENDS=x", "ZEEKWIRE_TEST_PORT_80_TCP=tcp://10.0.0.1:80",
		"ZEEKWIRE_OTHER_NAME=x", "ZEEKWIRE_TOKEN=x", "ZEEKWIRE_TEST_=x", "ZEEKWIRE_=x", "ZEEKWIRE_test_name=x", "ZEEKWIRE_TEST_NAMES=",
	}, "other") {
		got = append(got, err.Error())
	}
	want := []string{
		"ZEEKWIRE_FRIENDS: unknown variable, did you mean ZEEKWIRE_TEST_FRIENDS?",
		"ZEEKWIRE_TEST_: unknown variable",
		"ZEEKWIRE_TEST_COLOUR: unknown variable, did you mean ZEEKWIRE_TEST_COLOR?",
		"ZEEKWIRE_TEST_PORT_80_TCP: unknown variable",
		"ZEEKWIRE_TSET_COLOR: unknown variable, did you mean ZEEKWIRE_TEST_COLOR?",
		"ZEEKWIRE_test_name: unknown variable, did you mean ZEEKWIRE_TEST_NAME?",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// FuzzParse checks that valid settings have the same values when they are
// written and parsed again.
func FuzzParse(f *testing.F) {
	f.Add("name = a # b\n")
	f.Add("name = \"a\\n\" # b\n[x]\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range parse("f", []byte(text)) {
			if a.wrong != nil {
				continue
			}
			again := parse("f", []byte(a.name+" = "+quote(a.text)+"\n"))
			if len(again) != 1 || again[0].wrong != nil || again[0].text != a.text || again[0].name != a.name {
				t.Errorf("%q = %q: %v", a.name, a.text, again)
			}
		}
	})
}
