package terminal_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

func TestSafe(t *testing.T) {
	for _, tt := range []struct{ in, want, lines string }{
		{"worker-1", "worker-1", "worker-1"},
		{"größer 日本 😀", "größer 日本 😀", "größer 日本 😀"},
		{"\x1b[2J\x1b]0;title\a", `\x1b[2J\x1b]0;title\x07`, `\x1b[2J\x1b]0;title\x07`},
		{"a\r\nb\tc\n", `a\x0d\x0ab\x09c\x0a`, "a\nb\tc\n"},
		{"over\rwritten", `over\x0dwritten`, `over\x0dwritten`},
		{"csi \u009b31m", `csi \u009b31m`, `csi \u009b31m`},
		{"abc\u202edcba", `abc\u202edcba`, `abc\u202edcba`},
		{"tag \U000e0041", `tag \U000e0041`, `tag \U000e0041`},
		{"bad \xff\x9b1m", `bad \xff\x9b1m`, `bad \xff\x9b1m`},
		{"\x00\x7f", `\x00\x7f`, `\x00\x7f`},
	} {
		if got := terminal.Safe(tt.in); got != tt.want {
			t.Errorf("Safe(%q) = %q, want %q", tt.in, got, tt.want)
		}
		if got := terminal.SafeLines(tt.in); got != tt.lines {
			t.Errorf("SafeLines(%q) = %q, want %q", tt.in, got, tt.lines)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[31m\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		if got := terminal.Safe(s); strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Safe(%q) = %q, which has unprintable characters", s, got)
		}
		var out bytes.Buffer
		if n, err := terminal.SafeWriter(&out).Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("Write returned %d, %v, want %d, nil", n, err, len(s))
		}
		if strings.ContainsFunc(out.String(), func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
			t.Errorf("SafeWriter wrote %q for %q", out.String(), s)
		}
	})
}

func screen(columns, rows int) terminal.Screen {
	return terminal.Screen{Terminal: true, Moves: true, Size: func() (int, int) { return columns, rows }}
}

func table() *terminal.Table {
	t := &terminal.Table{Header: []string{"NODE", "N", "EMPTY", "ERROR"}, Right: []bool{false, true}}
	t.Add(terminal.Span{Text: "worker-1"}, terminal.Span{Text: "7"}, terminal.Span{}, terminal.Span{Text: "cannot open interface eth7: no such device"})
	t.Add(terminal.Span{Text: "ワーカー"}, terminal.Span{Text: "1234"})
	t.Add(terminal.Span{Text: "bad\x1b[2J\nxx"}, terminal.Span{})
	return t
}

func show(s terminal.Screen, lines ...terminal.Line) string {
	var out bytes.Buffer
	if err := s.Write(&out, lines...); err != nil {
		panic(err)
	}
	return out.String()
}

// TestTableOnNarrowScreen checks that cut names remain different, and that Spare
// columns are omitted.
func TestTableOnNarrowScreen(t *testing.T) {
	nodes := &terminal.Table{Header: []string{"NODE", "INSTANCE", "ROLE", "STATE", "PID"}, Spare: []int{4, 2}}
	for _, n := range []string{"1", "2"} {
		nodes.Add(terminal.Span{Text: "worker-in-the-north-" + n}, terminal.Span{Text: "instance-" + n}, terminal.Span{Text: "worker"},
			terminal.Span{Text: "RUNNING"}, terminal.Span{Text: "4194305"})
	}
	for columns, want := range map[int]string{
		60: `
NODE                   INSTANCE    ROLE    STATE    PID
worker-in-the-north-1  instance-1  worker  RUNNING  4194305
worker-in-the-north-2  instance-2  worker  RUNNING  4194305
`,
		50: `
NODE                  INSTANCE    ROLE    STATE
worker-in-…e-north-1  instance-1  worker  RUNNING
worker-in-…e-north-2  instance-2  worker  RUNNING
`,
		45: `
NODE                  INSTANCE    STATE
worker-in-…e-north-1  instance-1  RUNNING
worker-in-…e-north-2  instance-2  RUNNING
`,
		30: `
NODE       INSTANCE    STATE
work…th-1  instance-1  RUNNING
work…th-2  instance-2  RUNNING
`,
	} {
		s := screen(columns, 10)
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), show(s, nodes.Lines(s)...)); diff != "" {
			t.Errorf("%d columns (-want +got)\n%s", columns, diff)
		}
	}
}

// TestTable checks the alignment, the escapes and the width of a table.
func TestTable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		screen terminal.Screen
		want   string
	}{
		{"no limit", terminal.Screen{}, `
NODE                 N  ERROR
worker-1             7  cannot open interface eth7: no such device
ワーカー          1234
bad\x1b[2J\x0axx
`},
		{"narrow screen", screen(40, 10), `
NODE                 N  ERROR
worker-1             7  cannot open int…
ワーカー          1234
bad\x1b[2J\x0axx
`},
		{"screen narrower than the table", screen(5, 10), `
NODE       N  ERROR
wor…-1     7  canno…
ワ… ー  1234
bad…xx
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := show(tt.screen, table().Lines(tt.screen)...)
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			columns := 1 << 10
			if tt.screen.Size != nil {
				columns, _ = tt.screen.Size()
			}
			for line := range strings.Lines(got) {
				if w := terminal.Width(strings.TrimSuffix(line, "\n")); w > max(columns, 20) {
					t.Errorf("line has %d columns, which is too wide: %q", w, line)
				}
			}
		})
	}
}

// TestColor checks the sequences of styles, and the choice of colours.
func TestColor(t *testing.T) {
	line := terminal.Line{{Text: "worker-1 "}, {Text: "CRASHED\x1b[0m", Style: terminal.Bad}}
	if got, want := show(terminal.Screen{Color: true}, line), "worker-1 \x1b[31mCRASHED\\x1b[0m\x1b[0m\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := show(terminal.Screen{}, line), "worker-1 CRASHED\\x1b[0m\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, tt := range []struct {
		colors terminal.Colors
		env    string
		want   bool
	}{
		{terminal.ColorAuto, "", false}, // a buffer is not a terminal
		{terminal.ColorNever, "", false},
		{terminal.ColorAlways, "", true},
		{terminal.ColorAlways, "1", true},
	} {
		if got := terminal.Look(new(bytes.Buffer), func(string) string { return tt.env }, tt.colors).Color; got != tt.want {
			t.Errorf("%v with NO_COLOR=%q: got %t, want %t", tt.colors, tt.env, got, tt.want)
		}
	}
	if _, err := terminal.ParseColors("pink"); err == nil {
		t.Error("ParseColors accepts pink")
	}
}

// TestLive checks the control sequences that Live writes.
func TestLive(t *testing.T) {
	var out bytes.Buffer
	live := terminal.NewLive(&out, screen(10, 3))
	step := func(want string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("wrote %q, want %q", got, want)
		}
		out.Reset()
	}
	step("kept\n", live.Print(terminal.Text("kept")))
	step("\r\x1b[Ja\nb\n", live.Update(terminal.Text("a"), terminal.Text("b"), terminal.Text("does not fit")))
	step("\x1b[2A\r\x1b[Jlonger than the terminal\na\nb\n", live.Print(terminal.Text("longer than the terminal")))
	step("\x1b[2A\r\x1b[Jlonger tha\n", live.Update(terminal.Text("longer than the terminal")))
	step("\x1b[1A\r\x1b[J", live.Clear())
	step("", live.Clear())
	step("\r\x1b[Ja\n", live.Update(terminal.Text("a")))
	live.Leave()
	step("kept\n", live.Print(terminal.Text("kept")))

	live = terminal.NewLive(&out, terminal.Screen{Terminal: true})
	step("", live.Update(terminal.Text("a")))
	step("kept\n", live.Print(terminal.Text("kept")))
}
