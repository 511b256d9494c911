package main

import (
	"fmt"
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
{"Action":"pass","Package":"live","Test":"TestOurAgent/8.0.10/tls_off","Elapsed":2}
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
| Zeek               | Commit   | Passed | Checks | Skipped | Failed |
|--------------------|----------|--------|--------|---------|--------|
| 8.0.10             | 0123abcd | %d      | %d      | 0       | %d      |
| 5.0.10 (container) | 0123abcd | 0      | 0      | 1       | 0      |

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
			if out.String() != before+tt.want || r.failed != tt.failed {
				t.Errorf("failed is %v, got\n%s\nwant\n%s", r.failed, out.String(), before+tt.want)
			}
		})
	}
	t.Run("no end", func(t *testing.T) {
		if _, err := read(strings.NewReader(events), new(strings.Builder)); err == nil {
			t.Error("read accepts tests that did not end")
		}
	})
}

func TestName(t *testing.T) {
	for test, want := range map[string]string{
		"TestZoo":                         "Zoo",
		"TestOurAgent/tls_off":            "Our agent: tls off",
		"TestTLSOfZeek":                   "TLS of Zeek",
		"TestShowsWhyANodeFails":          "Shows why a node fails",
		"TestAPI/Management":              "API: Management",
		"TestClientsTLS/Zeek's_client/on": "Clients TLS: Zeek's client, on",
	} {
		if got := name(test); got != want {
			t.Errorf("%s is %q, want %q", test, got, want)
		}
	}
}
