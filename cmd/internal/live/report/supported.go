package main

import (
	"fmt"
	"os"
	"strings"
)

const (
	supportedHead = `# Supported versions of Zeek

zeekwire works with Zeek 5.0 to 9.0. The live suite runs all parts of zeekwire next to the programs of a real Zeek. This table
has the last run for each version, with numbers of tests, from [all results](../testdata/live.md).

`
	supportedTail = `
Tests are skipped if a version of Zeek lacks a feature; the results give the reason for each.
[Test data](../testdata/README.md) has earlier runs, the versions whose scripts were compared with our tables without a run, and
the limitations of Zeek that the tests have shown.

` + "`make live-table`" + ` writes this document.
`
)

// supported returns the document about supported versions of Zeek, with the summary in
// the table of results.
func supported(results string) (string, error) {
	i := strings.Index(results, "| Zeek")
	if i < 0 {
		return "", fmt.Errorf("the results have no summary")
	}
	summary, _, _ := strings.Cut(results[i:], "\n\n")
	return supportedHead + summary + "\n" + supportedTail, nil
}

func writeSupported(table, document string) error {
	results, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	text, err := supported(string(results))
	if err != nil {
		return err
	}
	return os.WriteFile(document, []byte(text), 0o644)
}
