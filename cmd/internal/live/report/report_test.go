package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"live"}
{"Action":"run","Package":"live","Test":"TestOurAgent"}
{"Action":"run","Package":"live","Test":"TestOurAgent/8.0.10"}
{"Action":"run","Package":"live","Test":"TestOurAgent/8.0.10/tls_off"}
{"Action":"output","Package":"live","Output":"*** commit 0123abcd\n"}
{"Action":"output","Package":"live","Test":"TestOurAgent/8.0.10/tls_off","Output":"chatter\n"}
{"Action":"output","Package":"live","Test":"TestOurAgent/8.0.10/tls_off","Output":"    x_test.go:7: stand-in: simulated nodes\n"}
{"Action":"output","Package":"live","Test":"TestOurAgent/8.0.10/tls_off","Output":"    x_test.go:8: checks: 3\n"}
{"Time":"2026-11-29T00:59:59+01:00","Action":"pass","Package":"live","Test":"TestOurAgent/8.0.10/tls_off","Elapsed":2}
{"Action":"pass","Package":"live","Test":"TestOurAgent/8.0.10","Elapsed":2}
{"Action":"run","Package":"live","Test":"TestOurAgent/5.0.10_(container)"}
{"Action":"run","Package":"live","Test":"TestOurAgent/5.0.10_(container)/tls_off"}
{"Action":"output","Package":"live","Test":"TestOurAgent/5.0.10_(container)/tls_off","Output":"    x_test.go:7: Zeek 5.0.10 has no WebSocket\n"}
{"Action":"skip","Package":"live","Test":"TestOurAgent/5.0.10_(container)/tls_off"}
{"Action":"pass","Package":"live","Test":"TestOurAgent/5.0.10_(container)"}
{"Action":"pass","Package":"live","Test":"TestOurAgent"}
{"Action":"run","Package":"live","Test":"TestZoo"}
{"Action":"run","Package":"live","Test":"TestZoo/8.0.10"}
{"Action":"output","Package":"live","Test":"TestZoo/8.0.10","Output":"    zoo_test.go:1: no lions\n"}
`

const summary = `
| Zeek               | Date       | Commit   | Passed | Checks | Skipped | Failed |
|--------------------|------------|----------|--------|--------|---------|--------|
| 8.0.10             | 2026-11-28 | 0123abcd | %d      | %d      | 0       | %d      |
| 5.0.10 (container) |            | 0123abcd | 0      | 0      | 1       | 0      |

The number after "pass" is that of the checks made.

| Test               | 8.0.10     | 5.0.10 (container) |
|--------------------|------------|--------------------|
| Our agent: tls off | pass 3 [1] | skip [2]           |
| Zoo                | %-10s |                    |

1. With simulated nodes
2. Skipped: Zeek 5.0.10 has no WebSocket
`

func TestReport(t *testing.T) {
	const before = `*** commit 0123abcd
pass Our agent: 8.0.10, tls off (2 s)
skip Our agent: 5.0.10 (container), tls off (0 s)
`
	for _, tt := range []struct {
		name, end string
		failed    bool
		want      string
	}{
		{"pass", `{"Action":"output","Package":"live","Test":"TestZoo/8.0.10","Output":"    x_test.go:8: checks: 1\n"}
{"Action":"pass","Package":"live","Test":"TestZoo/8.0.10","Elapsed":1}
{"Action":"pass","Package":"live","Test":"TestZoo","Elapsed":1}
{"Action":"pass","Package":"live"}
`, false, "pass Zoo: 8.0.10 (1 s)\n" + fmt.Sprintf(summary, 2, 4, 0, "pass 1")},
		{"pass without a check", `{"Action":"pass","Package":"live","Test":"TestZoo/8.0.10","Elapsed":1}
{"Action":"pass","Package":"live","Test":"TestZoo","Elapsed":1}
{"Action":"pass","Package":"live"}
`, true, "fail Zoo: 8.0.10 (1 s)\n    zoo_test.go:1: no lions\n    it passed without a check\n" + fmt.Sprintf(summary, 1, 3, 1, "FAIL")},
		{"fail", `{"Action":"fail","Package":"live","Test":"TestZoo/8.0.10","Elapsed":1}
{"Action":"fail","Package":"live","Test":"TestZoo","Elapsed":1}
{"Action":"fail","Package":"live"}
`, true, "fail Zoo: 8.0.10 (1 s)\n    zoo_test.go:1: no lions\n" + fmt.Sprintf(summary, 1, 3, 1, "FAIL")},
		{"cut off", `{"Action":"fail","Package":"live"}
`, true, "fail Zoo: 8.0.10 (0 s)\n    zoo_test.go:1: no lions\n" + fmt.Sprintf(summary, 1, 3, 1, "FAIL")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r, err := read(strings.NewReader(events+tt.end), &out)
			if err != nil {
				t.Fatal(err)
			}
			r.write(&out)
			if out.String() != before+tt.want || r.failed() != tt.failed {
				t.Errorf("failed is %v, got\n%s\nwant\n%s", r.failed(), out.String(), before+tt.want)
			}
		})
	}
	t.Run("no end", func(t *testing.T) {
		if _, err := read(strings.NewReader(events), new(strings.Builder)); err == nil {
			t.Error("read accepts tests that did not end")
		}
	})
}

// A test that failed counts as passed after a later run of it alone, of which the output
// follows.
func TestLaterRun(t *testing.T) {
	const failed = events + `{"Action":"fail","Package":"live","Test":"TestZoo/8.0.10","Elapsed":1}
{"Action":"fail","Package":"live","Test":"TestZoo","Elapsed":1}
{"Action":"fail","Package":"live"}
`
	again := func(test, action string) string {
		return strings.NewReplacer("TEST", test, "ACTION", action).Replace(`{"Action":"start","Package":"live"}
{"Action":"run","Package":"live","Test":"TEST"}
{"Action":"run","Package":"live","Test":"TEST/8.0.10"}
{"Action":"output","Package":"live","Test":"TEST/8.0.10","Output":"    x_test.go:8: checks: 5\n"}
{"Action":"ACTION","Package":"live","Test":"TEST/8.0.10"}
{"Action":"ACTION","Package":"live","Test":"TEST"}
{"Action":"ACTION","Package":"live"}
`)
	}
	for name, tt := range map[string]struct {
		output string
		failed bool
		row    string
	}{
		"the test passes":          {failed + again("TestZoo", "pass"), false, "| Zoo                | pass 5 "},
		"the test fails again":     {failed + again("TestZoo", "fail"), true, "| Zoo                | FAIL "},
		"the test is skipped":      {failed + again("TestZoo", "skip"), true, "| Zoo                | skip "},
		"another test passes":      {failed + again("TestZebra", "pass"), true, "| Zoo                | FAIL "},
		"it fails in the last run": {failed + again("TestZoo", "pass") + again("TestZoo", "fail"), true, "| Zoo                | FAIL "},
	} {
		r, err := read(strings.NewReader(tt.output), new(strings.Builder))
		if err != nil {
			t.Fatal(err)
		}
		var table strings.Builder
		r.write(&table)
		if r.failed() != tt.failed || !strings.Contains(table.String(), tt.row) {
			t.Errorf("%s: failed is %v\n%s", name, r.failed(), table.String())
		}
	}
}

// A test with subtests that failed has no row once it has passed.
func TestLaterRunOfSubtests(t *testing.T) {
	run := func(action string) string {
		return strings.ReplaceAll(`{"Action":"start","Package":"live"}
{"Action":"run","Package":"live","Test":"TestZoo"}
{"Action":"run","Package":"live","Test":"TestZoo/8.0.10"}
{"Action":"run","Package":"live","Test":"TestZoo/8.0.10/cage"}
{"Action":"output","Package":"live","Test":"TestZoo/8.0.10/cage","Output":"    x_test.go:8: checks: 5\n"}
{"Action":"ACTION","Package":"live","Test":"TestZoo/8.0.10/cage"}
{"Action":"ACTION","Package":"live","Test":"TestZoo/8.0.10"}
{"Action":"ACTION","Package":"live","Test":"TestZoo"}
{"Action":"ACTION","Package":"live"}
`, "ACTION", action)
	}
	for output, want := range map[string]int{run("fail"): 2, run("pass"): 1, run("fail") + run("pass"): 1} {
		r, err := read(strings.NewReader(output), new(strings.Builder))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.tests) != want || len(r.outcomes) != want {
			t.Errorf("rows %v with outcomes %v, want %d", r.tests, r.outcomes, want)
		}
	}
}

// TestSupportedVersions checks that the document has the summary of the results, with
// a date for each version.
func TestSupportedVersions(t *testing.T) {
	const root = "../../../../"
	results, err := os.ReadFile(root + "testdata/live.md")
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(root + "docs/supported-zeek.md")
	if err != nil {
		t.Fatal(err)
	}
	want, err := supported(string(results))
	if err != nil {
		t.Fatal(err)
	}
	if string(document) != want {
		t.Errorf("docs/supported-zeek.md differs from the results: run make live-table. Want\n%s", want)
	}
	rows := regexp.MustCompile(`(?m)^\| \d+\.\d+\S* +\| \d{4}-\d\d-\d\d +\| [0-9a-f]{8} +\|`).FindAllString(want, -1)
	if lines := strings.Count(want, "\n| "); len(rows) == 0 || len(rows) != lines-1 {
		t.Errorf("%d of %d rows have a version, date and commit", len(rows), lines-1)
	}
	if _, err := supported("no table"); err == nil {
		t.Error("results without a summary are accepted")
	}
}

func TestName(t *testing.T) {
	for test, want := range map[string]string{
		"TestZoo":                         "Zoo",
		"TestOurAgent/tls_off":            "Our agent: tls off",
		"TestTLSOfZeek":                   "TLS of Zeek",
		"TestShowsWhyANodeFails":          "Shows why a node fails",
		"TestAPI/Management":              "API: Management",
		"TestClientsTLS/Zeek's_client/on": "Clients TLS: Zeek's client, on",
		"TestSeveralCPUs":                 "Several CPUs",
		"TestOutputIsWritten":             "Output is written",
	} {
		if got := name(test); got != want {
			t.Errorf("%s is %q, want %q", test, got, want)
		}
	}
}
