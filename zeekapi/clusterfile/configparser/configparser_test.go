package configparser_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// The tests of package clusterfile also test this package, with a collection of
// files.

func TestRead(t *testing.T) {
	file, err := configparser.Read("x", strings.NewReader(`[DEFAULT]
dir = /opt
who = %(name)s

[one]
name: first
Dir = /home
empty =
bare
path = %(dir)s/%(who)s
  and more
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range file.Section("one").Options {
		got = append(got, fmt.Sprintf("%d %s (%s) %t %q", o.Line, o.Key, o.Written, o.HasValue, o.Value))
	}
	want := []string{
		`7 dir (Dir) true "/home"`,
		`3 who (who) true "first"`,
		`6 name (name) true "first"`,
		`8 empty (empty) true ""`,
		`9 bare (bare) false ""`,
		`10 path (path) true "/home/first\nand more"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if file.Section("two") != nil || file.Section("DEFAULT") != nil || file.Section("one").Option("NAME") == nil {
		t.Error("Section or Option returns a wrong result")
	}
}

func TestReadRaw(t *testing.T) {
	file, err := configparser.ReadRaw("x", strings.NewReader("[a]\nk = %(elsewhere)s 5%\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Section("a").Option("k").Value; got != "%(elsewhere)s 5%" {
		t.Errorf("value %q", got)
	}
}

// TestReadLimits reads files that exceed the limits.
func TestReadLimits(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString("[a]\nk0 = " + strings.Repeat("x", 1000) + "\n")
	for i := range 9 {
		fmt.Fprintf(&doubling, "k%d = %s\n", i+1, strings.Repeat(fmt.Sprintf("%%(k%d)s", i), 10))
	}
	tests := map[string]struct{ text, want string }{
		"too large":   {strings.Repeat("#", configparser.MaxSize+1), "file is larger than 16777216 bytes (x)"},
		"doubling":    {doubling.String(), "file expands to more than 67108864 bytes when references are resolved (x:1)"},
		"inheritance": {"[DEFAULT]\n" + distinct("k%d\n", 10000) + distinct("[s%d]\n", 1000), "file expands to more than 67108864 bytes when references are resolved (x:100"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := configparser.Read("x", strings.NewReader(test.text))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %.300v, want %s", err, test.want)
			}
			var errs configparser.Errors
			if errors.As(err, &errs) && len(errs) > 100 {
				t.Errorf("got %d errors", len(errs))
			}
		})
	}
}

func distinct(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestReadErrorIsNotAFileError(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := configparser.Read("x", io.MultiReader(strings.NewReader("[a]\n"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.As(err, new(configparser.Errors)) {
		t.Errorf("error %v", err)
	}
}

func TestWriter(t *testing.T) {
	var w configparser.Writer
	if got, err := w.Bytes(); len(got) != 0 || err != nil {
		t.Errorf("empty file: %q, %v", got, err)
	}
	w.Section("One")
	w.Key("Bare")
	w.KeyValue("Key", configparser.Escape("50%"))
	w.KeyValue("lines", "a\nb")
	w.Section("two")
	got, err := w.Bytes()
	if want := "[One]\nbare\nkey = 50%%\nlines = a\n\tb\n\n[two]\n\n"; string(got) != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// Values that would be read as others are refused, and can only be shown.
func TestWriterRefusesValues(t *testing.T) {
	long := strings.Repeat("x", 100) + "\f"
	tests := map[string]struct{ value, want string }{
		"blank at the end":       {"a ", `it would be read as "a"`},
		"blank at the beginning": {"\u00a0a", `it would be read as "a"`},
		"separator of Python":    {"0\x1e", `it would be read as "0"`},
		"only a form feed":       {"\f", `it would be read as ""`},
		"carriage return":        {"a\rb", `it would be read as "a`},
		"line break at the end":  {"a\n", `it would be read as "a"`},
		"blank at a line's end":  {"a \nb", `it would be read as "a\nb"`},
		"indented line":          {"a\n b", `it would be read as "a\nb"`},
		"line like a comment":    {"a\n#b\nc", `it would be read as "a\nc"`},
		"not UTF-8":              {"\xff", "line is not UTF-8"},
		"long":                   {long, `it would be read as "` + long[:60] + `..."`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var w configparser.Writer
			w.Section("s")
			w.KeyValue("k", test.value)
			_, err := w.Bytes()
			if !errors.Is(err, configparser.ErrUnwritable) || !strings.HasPrefix(err.Error(), `section "s": the value of k, `) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %s", err, test.want)
			}
			var shown configparser.Writer
			shown.Section("s")
			shown.KeyText("k", test.value)
			if _, err := shown.Bytes(); err != nil {
				t.Errorf("as text: %v", err)
			}
		})
	}
}

// FuzzWriter checks that what a Writer writes is read as the same.
func FuzzWriter(f *testing.F) {
	f.Add("section", "key", "value")
	f.Add("s", "k", "a\n\n[b]\n\tc = d")
	f.Add("a]b", "k:", "# a")
	f.Add("", "K", "\x1e")
	f.Fuzz(func(t *testing.T, section, key, value string) {
		var w configparser.Writer
		w.Section(section)
		w.Key("before")
		w.KeyValue(key, value)
		w.KeyValue("after", "x")
		text, err := w.Bytes()
		if err != nil {
			return
		}
		got, err := configparser.ReadRaw("f", bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		s := got.Section(section)
		if s == nil || len(got.Sections) != 1 || len(s.Options) != 3 {
			t.Fatalf("other options were read from\n%s", text)
		}
		if o := s.Option(key); o == nil || o.Value != value || !o.HasValue {
			t.Errorf("value %q was read as %+v from\n%s", value, o, text)
		}
	})
}

func TestExpand(t *testing.T) {
	values := map[string]string{"host": "zeek.example", "url": "%(Host)s:%(port)s", "port": "2149", "loop": "%(loop)s"}
	lookup := func(key string) (string, bool) { v, ok := values[key]; return v, ok }
	for _, tt := range []struct{ value, want, err string }{
		{value: "plain", want: "plain"},
		{value: "100%%", want: "100%"},
		{value: "ws://%(URL)s/", want: "ws://zeek.example:2149/"},
		{value: "%(none)s", err: `reference to the key "none", which does not exist`},
		{value: "%(loop)s", err: "references are nested more than 10 deep"},
		{value: "%x", err: `"%x" is not a valid reference such as %(key)s; write %% for a %`},
	} {
		got, err := configparser.Expand(tt.value, lookup)
		if text := fmt.Sprint(err); got != tt.want || tt.err == "" && err != nil || tt.err != "" && text != tt.err {
			t.Errorf("%q expands to %q, %v; want %q, %s", tt.value, got, err, tt.want, tt.err)
		}
	}
}
