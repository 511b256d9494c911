package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// event is a line of the output of "go test -json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
	Time                          time.Time
}

// outcome is the outcome of a test with one version of Zeek.
type outcome struct {
	action  string // "pass", "fail" or "skip"
	reason  string // reason of a skip or failure
	checks  int    // number of comparisons
	standIn string // what replaces a part of Zeek; "" for nothing
}

// report holds the outcomes by test and version.
type report struct {
	tests    []string // in the order in which they ended
	versions []string
	commits  map[string]string     // of the tests, by version
	dates    map[string]string     // of the last test, by version
	outcomes map[[2]string]outcome // by test and version
	failures map[event]bool        // packages and tests whose last run failed
}

// failed reports whether a package or a test failed, and did not pass in a later run.
func (r *report) failed() bool { return len(r.failures) > 0 }

// version matches the part of a test's name that is a version of Zeek.
var version = regexp.MustCompile(`^\d+\.\d+`)

// read reads the events. It prints the outcome of each test, and the output of
// failed tests. The output of other tests is discarded.
func read(in io.Reader, w io.Writer) (*report, error) {
	r := &reader{
		report: &report{
			outcomes: make(map[[2]string]outcome), commits: make(map[string]string), dates: make(map[string]string),
			failures: make(map[event]bool),
		}, w: w,
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
	commit   string             // of the tests that follow
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
		if commit, ok := strings.CutPrefix(e.Output, "*** commit "); ok {
			r.commit = strings.TrimSpace(commit)
		}
		if e.Action == "build-output" || e.Test == "" && strings.HasPrefix(e.Output, "***") {
			fmt.Fprint(r.w, e.Output)
			return
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
	// A test with subtests is a row of its own if it failed: perhaps none of them did.
	switch {
	case e.Test == "":
	case r.parents[of] && e.Action != "fail":
		r.forget(e.Test)
	case !r.parents[of] || hasVersion(e.Test):
		o := r.outcome(e)
		e.Action = o.action
		fmt.Fprintf(r.w, "%-4s %s (%.0f s)\n", e.Action, name(e.Test), e.Elapsed)
		r.add(e.Test, e.Time, o)
	}
	switch e.Action {
	case "fail":
		fmt.Fprint(r.w, strings.Join(r.output[of], ""))
		r.failures[of] = true
	case "pass":
		delete(r.failures, of)
	}
	delete(r.output, of)
	r.running = slices.DeleteFunc(r.running, func(other event) bool { return other == of })
}

// outcome returns the outcome of a test. A test with a Zeek that passed without a
// check has failed: it compared nothing.
func (r *reader) outcome(e event) outcome {
	o := outcome{action: e.Action}
	for _, line := range r.output[e.of()] {
		if !where.MatchString(line) {
			continue
		}
		message := strings.TrimSpace(where.ReplaceAllString(line, ""))
		if text, ok := strings.CutPrefix(message, "checks: "); ok {
			o.checks, _ = strconv.Atoi(text) // written by checked
		} else if text, ok := strings.CutPrefix(message, "stand-in: "); ok {
			o.standIn = text
		} else {
			o.reason = message
		}
	}
	if o.action == "pass" && o.checks == 0 && hasVersion(e.Test) {
		o.action, o.reason = "fail", "passed without a check"
		r.output[e.of()] = append(r.output[e.of()], "    it passed without a check\n")
	}
	return o
}

func hasVersion(test string) bool {
	return slices.ContainsFunc(strings.Split(test, "/"), version.MatchString)
}

// add records the outcome of a test. Tests without a version in their name do
// not use a Zeek and are ignored.
func (r *reader) add(test string, ended time.Time, o outcome) {
	row, v, ok := place(test)
	if !ok {
		return
	}
	if !slices.Contains(r.versions, v) {
		r.versions = append(r.versions, v)
	}
	if !slices.Contains(r.tests, row) {
		r.tests = append(r.tests, row)
	}
	r.outcomes[[2]string{row, v}] = o
	r.commits[v] = r.commit
	if !ended.IsZero() {
		r.dates[v] = ended.UTC().Format(time.DateOnly)
	}
}

// forget removes the outcome of a test with subtests, which has one only if it failed.
func (r *reader) forget(test string) {
	row, v, ok := place(test)
	if !ok {
		return
	}
	delete(r.outcomes, [2]string{row, v})
	if !slices.ContainsFunc(r.versions, func(v string) bool { _, ok := r.outcomes[[2]string{row, v}]; return ok }) {
		r.tests = slices.DeleteFunc(r.tests, func(test string) bool { return test == row })
	}
}

// place returns the row and the column of a test in the table. The result ok is false if
// the test has no version in its name.
func place(test string) (row, column string, ok bool) {
	parts := strings.Split(test, "/")
	i := slices.IndexFunc(parts, version.MatchString)
	if i < 0 {
		return "", "", false
	}
	column = strings.ReplaceAll(parts[i], "_", " ")
	return name(strings.Join(slices.Delete(parts, i, i+1), "/")), column, true
}

// name returns a readable form of a test's name: TestTLSOfZeek/tls_off is "TLS
// of Zeek: tls off".
func name(test string) string {
	test, sub, _ := strings.Cut(test, "/")
	words := split(strings.TrimPrefix(test, "Test"))
	for i, w := range words {
		singular := strings.TrimSuffix(w, "s")
		if i > 0 && w != "Zeek" && (len(singular) == 1 || singular != strings.ToUpper(singular)) {
			words[i] = strings.ToLower(w)
		}
	}
	readable := strings.Join(words, " ")
	if sub != "" {
		readable += ": " + strings.NewReplacer("_", " ", "/", ", ").Replace(sub)
	}
	return readable
}

// split splits a name into words. A word begins with a capital letter, or consists of
// capital letters, perhaps with an s for the plural.
func split(name string) (words []string) {
	lower := func(i int) bool { return i < len(name) && 'a' <= name[i] && name[i] <= 'z' }
	plural := func(i int) bool { return name[i] == 's' && !lower(i+1) }
	begin := 0
	for i := 1; i < len(name); i++ {
		if !lower(i) && (lower(i-1) || lower(i+1) && !plural(i+1)) {
			words = append(words, name[begin:i])
			begin = i
		}
	}
	return append(words, name[begin:])
}

// where matches the position that package testing writes before a message.
var where = regexp.MustCompile(`^\s+\w+\.go:\d+: `)

// write writes a summary by version, and the table of outcomes, in Markdown.
func (r *report) write(w io.Writer) {
	if len(r.versions) == 0 {
		return
	}
	summary := [][]string{{"Zeek", "Date", "Commit", "Passed", "Checks", "Skipped", "Failed"}}
	for _, v := range r.versions {
		summary = append(summary, r.summary(v))
	}
	fmt.Fprintln(w)
	writeTable(w, summary)

	var notes notes
	table := [][]string{append([]string{"Test"}, r.versions...)}
	for _, test := range r.tests {
		row := []string{test}
		for _, v := range r.versions {
			row = append(row, r.cell(test, v, &notes))
		}
		table = append(table, row)
	}
	fmt.Fprint(w, "\nThe number after \"pass\" is that of the checks made.\n\n")
	writeTable(w, table)
	for i, note := range notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%d. %s\n", i+1, note)
	}
}

func (r *report) summary(version string) []string {
	count := make(map[string]int)
	checks := 0
	for key, o := range r.outcomes {
		if key[1] == version {
			count[o.action]++
			checks += o.checks
		}
	}
	return []string{version, r.dates[version], r.commits[version], strconv.Itoa(count["pass"]), strconv.Itoa(checks), strconv.Itoa(count["skip"]), strconv.Itoa(count["fail"])}
}

// notes are the footnotes of a table.
type notes []string

// number returns the number of a footnote.
func (n *notes) number(text string) int {
	if i := slices.Index(*n, text); i >= 0 {
		return i + 1
	}
	*n = append(*n, text)
	return len(*n)
}

// cell returns the text of an outcome in the table.
func (r *report) cell(test, version string, notes *notes) string {
	o, ok := r.outcomes[[2]string{test, version}]
	switch {
	case !ok:
		return ""
	case o.action == "fail":
		return "FAIL"
	case o.action == "skip":
		return fmt.Sprintf("skip [%d]", notes.number("Skipped: "+o.reason))
	}
	text := fmt.Sprintf("pass %d", o.checks)
	if o.standIn != "" {
		text += fmt.Sprintf(" [%d]", notes.number("With "+o.standIn))
	}
	return text
}

// writeTable writes rows, the first of which is the header.
func writeTable(w io.Writer, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, text := range row {
			widths[i] = max(widths[i], len(text))
		}
	}
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
}
