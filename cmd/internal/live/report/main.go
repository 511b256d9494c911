// Command report reads the output of "go test -json" for the live tests. It
// prints the outcome of each test and, at the end, a table of outcomes by test
// and version of Zeek. The exit code is 1 if a test failed or the output is
// incomplete.
package main

import (
	"fmt"
	"os"
)

func main() {
	report, err := read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	report.write(os.Stdout)
	if report.failed {
		os.Exit(1)
	}
}
