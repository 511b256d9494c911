// Command report reads what "go test -json" writes about the live tests, says
// how each test ends, and closes with a table of test by version of Zeek. It
// ends with exit code 1 if a test failed.
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
