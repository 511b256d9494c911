package shlex_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// The expected words are those of Python's shlex.split.
func TestSplit(t *testing.T) {
	tests := []struct {
		in   string
		want []string
		err  error
	}{
		{in: ""},
		{in: " \t\r\n"},
		{in: "a b\tc\nd\re", want: []string{"a", "b", "c", "d", "e"}},
		{in: `a"b c"d 'e "f'`, want: []string{"ab cd", `e "f`}},
		{in: `"" '' x`, want: []string{"", "", "x"}},
		{in: `a\ b \"c \\ \d`, want: []string{"a b", `"c`, `\`, "d"}},
		{in: `"a\"b\\c\d\'e"`, want: []string{`a"b\c\d\'e`}},
		{in: `'a\b\'`, want: []string{`a\b\`}},
		{in: "#a b#c", want: []string{"#a", "b#c"}},
		{in: "$A `b` *", want: []string{"$A", "`b`", "*"}},
		{in: "é\u00a0ü", want: []string{"é\u00a0ü"}},
		{in: "\"a\nb\"", want: []string{"a\nb"}},
		{in: `a "b`, err: shlex.ErrUnclosedQuote},
		{in: `a 'b`, err: shlex.ErrUnclosedQuote},
		{in: `a\`, err: shlex.ErrTrailingEscape},
		{in: `"a\`, err: shlex.ErrTrailingEscape},
	}
	for _, test := range tests {
		got, err := shlex.Split(test.in)
		if !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
			t.Errorf("Split(%q) = %q, %v, want %q, %v", test.in, got, err, test.want, test.err)
		}
	}
}

func TestJoin(t *testing.T) {
	words := []string{"a", "b c", "", `it's`, `\`, "x=$Y", "a\f", "\x1cb", "#c", ";", "d#"}
	line := shlex.Join(words)
	if want := `a 'b c' '' 'it'"'"'s' '\' x=$Y ` + "'a\f' '\x1cb' '#c' ';' d#"; line != want {
		t.Errorf("got %s, want %s", line, want)
	}
	if again, err := shlex.Split(line); !slices.Equal(again, words) || err != nil {
		t.Errorf("%s is split into %q, error %v", line, again, err)
	}
}

func FuzzQuote(f *testing.F) {
	f.Add("")
	f.Add(`it's "a" \ test`)
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := shlex.Split(shlex.Quote(s)); err != nil || len(got) != 1 || got[0] != s {
			t.Errorf("%q is split into %q, error %v", s, got, err)
		}
		shlex.Split(s)
	})
}
