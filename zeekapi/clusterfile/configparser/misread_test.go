package configparser_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// TestMisread checks which texts look like comments behind a value, or like keys that
// are indented too far.
func TestMisread(t *testing.T) {
	isKey := func(_, key string) bool { return slices.Contains([]string{"key", "other"}, key) }
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"[a]\nkey = b\n# comment\n  # indented comment\nother = c#d;e\n", nil},
		{"[a] # comment\nkey = b\n", nil}, // ConfigParser ignores the rest of a header
		{"[a] # of [b]\n", []string{`x:1:5: "# of [b" is part of the name of the section "a] # of [b"; a comment must be on a line of its own`}},
		{"[a]\r\nkey = größe # ü\r\n", []string{`x:2:13: "# ü" is part of the value of key; a comment must be on a line of its own`}},
		{"[a]\nkey =\t; b\n", []string{`x:2:7: "; b" is part of the value of key; a comment must be on a line of its own`}},
		{"[a]\nKEY # b\n", []string{`x:2:5: "# b" is part of the key "key # b"; a comment must be on a line of its own`}},
		{"[a]\nKEY # b = c\n", []string{`x:2:5: "# b " is part of the key "key # b"; a comment must be on a line of its own`}},
		{"[a]\nkey = 'b # c' \"d ; e\" it's # f\n", []string{`x:2:28: "# f" is part of the value of key; a comment must be on a line of its own`}},
		{"[a]\nkey = b\n  c # d\n", []string{`x:3:5: "# d" is part of the value of key; a comment must be on a line of its own`}},
		{"[a]\nkey = b\n  other = c\n\tOther:c\n  third = d\n", []string{
			`x:3:3: "other = c" continues the value of key, because it is indented more than that; give all keys the same indentation`,
			`x:4:2: "Other:c" continues the value of key, because it is indented more than that; give all keys the same indentation`,
		}},
		{"[a]\n\tkey = b\n\tother = c\n", nil}, // the same indentation
	} {
		file, err := configparser.Read("x", strings.NewReader(tt.text))
		if err != nil {
			t.Fatalf("%q: %v", tt.text, err)
		}
		var got []string
		for _, e := range file.Misread(isKey) {
			got = append(got, e.Place()+": "+e.Text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got)\n%s", tt.text, diff)
		}
	}
}

// TestOtherEncodings checks the errors about files that are not UTF-8. Keys after an
// invalid header do not count as keys of the section before.
func TestOtherEncodings(t *testing.T) {
	for text, want := range map[string]string{
		"\xff\xfe[\x00a\x00]\x00":      "the file is UTF-16; save it as UTF-8 (x)",
		"\xfe\xff\x00[\x00a\x00]":      "the file is UTF-16; save it as UTF-8 (x)",
		"[a]\nk = 1\n[m\xfc]\nk = 2\n": "line is not UTF-8 (x:3)",
	} {
		if _, err := configparser.Read("x", strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
