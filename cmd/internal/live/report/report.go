package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of the output of "go test -json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// outcome is the outcome of a test with one version of Zeek.
type outcome struct {
	action string // "pass", "fail" or "skip"
	reason string // reason of a skip
}

// report holds the outcomes by test and version.
type report struct {
	tests    []string // in the order in which they ended
	versions []string
	outcomes map[[2]string]outcome // by test and version
	failed   bool
}

// version matches the part of a test's name that is a version of Zeek.
var version = regexp.MustCompile(`^\d+\.\d+`)

// read reads the events. It prints the outcome of each test, and the output of
// failed tests. The output of other tests is discarded.
func read(in io.Reader, w io.Writer) (*report, error) {
	r := &reader{
		report: &report{outcomes: make(map[[2]string]outcome)}, w: w,
		output: make(map[event][]string), parents: make(map[event]bool),
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(w, lines.Text()) // output of the compiler
			continue
		}
		r.take(e)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if r.packages == 0 || len(r.running) > 0 {
		return nil, fmt.Errorf("the output of the tests is incomplete")
	}
	return r.report, nil
}

// reader builds a report from events.
type reader struct {
	*report
	w        io.Writer
	packages int                // number of packages that ended
	running  []event            // packages and tests, in the order in which they began
	output   map[event][]string // of running packages and tests
	parents  map[event]bool     // tests with subtests
}

// of returns the part of an event that identifies its test or package.
func (e event) of() event { return event{Package: e.Package, Test: e.Test} }

func (r *reader) take(e event) {
	switch of := e.of(); e.Action {
	case "start", "run":
		r.running = append(r.running, of)
		if i := strings.LastIndex(e.Test, "/"); i >= 0 {
			r.parents[event{Package: e.Package, Test: e.Test[:i]}] = true
		}
	case "output", "build-output":
		if e.Action == "build-output" || e.Test == "" && strings.HasPrefix(e.Output, "***") {
			fmt.Fprint(r.w, e.Output)
		}
		r.output[of] = append(r.output[of], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packages++
			r.cutOff(e.Package)
		}
		r.end(e)
	}
}

// cutOff marks the tests of a package that are still running as failed. The
// package was killed, or reached its time limit.
func (r *reader) cutOff(pkg string) {
	for _, test := range slices.Clone(r.running) {
		if test.Package == pkg && test.Test != "" {
			test.Action = "fail"
			r.end(test)
		}
	}
}

func (r *reader) end(e event) {
	of := e.of()
	r.failed = r.failed || e.Action == "fail"
	if e.Test != "" && !r.parents[of] {
		fmt.Fprintf(r.w, "%-4s %s (%.0f s)\n", e.Action, name(e.Test), e.Elapsed)
		r.add(e.Test, outcome{e.Action, reason(r.output[of])})
	}
	if e.Action == "fail" {
		fmt.Fprint(r.w, strings.Join(r.output[of], ""))
	}
	delete(r.output, of)
	r.running = slices.DeleteFunc(r.running, func(other event) bool { return other == of })
}

// add records the outcome of a test. Tests without a version in their name do
// not use a Zeek and are ignored.
func (r *report) add(test string, o outcome) {
	parts := strings.Split(test, "/")
	i := slices.IndexFunc(parts, version.MatchString)
	if i < 0 {
		return
	}
	v := strings.ReplaceAll(parts[i], "_", " ")
	row := name(strings.Join(slices.Delete(parts, i, i+1), "/"))
	if !slices.Contains(r.versions, v) {
		r.versions = append(r.versions, v)
	}
	if !slices.Contains(r.tests, row) {
		r.tests = append(r.tests, row)
	}
	r.outcomes[[2]string{row, v}] = o
}

// name returns a readable form of a test's name: TestTLSOfZeek/tls_off is "TLS
// of Zeek: tls off".
func name(test string) string {
	test, sub, _ := strings.Cut(test, "/")
	words := split(strings.TrimPrefix(test, "Test"))
	for i, w := range words {
		if i > 0 && w != "Zeek" && (len(w) == 1 || w != strings.ToUpper(w)) {
			words[i] = strings.ToLower(w)
		}
	}
	readable := strings.Join(words, " ")
	if sub != "" {
		readable += ": " + strings.NewReplacer("_", " ", "/", ", ").Replace(sub)
	}
	return readable
}

// split splits a name into words. A word begins with a capital letter or
// consists of capital letters.
func split(name string) (words []string) {
	lower := func(i int) bool { return i < len(name) && 'a' <= name[i] && name[i] <= 'z' }
	begin := 0
	for i := 1; i < len(name); i++ {
		if !lower(i) && (lower(i-1) || lower(i+1)) {
			words = append(words, name[begin:i])
			begin = i
		}
	}
	return append(words, name[begin:])
}

// where matches the position that package testing writes before a message.
var where = regexp.MustCompile(`^\s+\w+\.go:\d+: `)

// reason returns the last message in the output of a test.
func reason(output []string) string {
	for _, line := range slices.Backward(output) {
		if where.MatchString(line) {
			return strings.TrimSpace(where.ReplaceAllString(line, ""))
		}
	}
	return ""
}

// write writes the table in Markdown.
func (r *report) write(w io.Writer) {
	if len(r.versions) == 0 {
		return
	}
	var reasons []string
	cell := func(test, version string) string {
		o, ok := r.outcomes[[2]string{test, version}]
		switch {
		case !ok:
			return ""
		case o.action == "fail":
			return "FAIL"
		case o.action == "pass":
			return "pass"
		}
		n := slices.Index(reasons, o.reason)
		if n < 0 {
			n = len(reasons)
			reasons = append(reasons, o.reason)
		}
		return fmt.Sprintf("skip %d", n+1)
	}
	table := [][]string{append([]string{"Test"}, r.versions...)}
	for _, test := range r.tests {
		row := []string{test}
		for _, v := range r.versions {
			row = append(row, cell(test, v))
		}
		table = append(table, row)
	}
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
	fmt.Fprintln(w)
	for i, row := range table {
		for j, text := range row {
			fmt.Fprintf(w, "| %-*s ", widths[j], text)
		}
		fmt.Fprintln(w, "|")
		if i == 0 {
			for _, width := range widths {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", width+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
	if len(reasons) > 0 {
		fmt.Fprintln(w, "\nSkipped because:")
	}
	for i, reason := range reasons {
		fmt.Fprintf(w, "%d. %s\n", i+1, reason)
	}
}
