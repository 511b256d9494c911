// Command report reads the output of "go test -json" for the live tests, from
// standard input or from files. It prints the outcome of each test and, at the end,
// a table of outcomes by test and version of Zeek. The exit code is 1 if a test
// failed in its last run, if one passed without a check, or if the output is incomplete.
//
// With -write, it also writes the table into a file, with the date and the commit of
// the tests. With -supported, it then writes the document about the supported versions
// of Zeek, which has the summary of that file.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
)

const header = `# Results of the live tests

Made by ` + "`make live-table`" + ` from the output of ` + "`make live`" + `. [README.md](README.md) describes the tests.
`

func main() {
	table := flag.String("write", "", "write the table into `FILE`")
	document := flag.String("supported", "", "write the document about supported versions into `FILE`, from that of -write")
	flag.Parse()
	failed, err := run(*table, flag.Args())
	if err == nil && *document != "" {
		err = writeSupported(*table, *document)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

func run(table string, files []string) (failed bool, err error) {
	var in io.Reader = os.Stdin
	if len(files) > 0 {
		var all []io.Reader
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				return false, err
			}
			all = append(all, bytes.NewReader(text))
		}
		in = io.MultiReader(all...)
	}
	report, err := read(in, os.Stdout)
	if err != nil {
		return false, err
	}
	report.write(os.Stdout)
	if table != "" {
		text := bytes.NewBufferString(header)
		report.write(text)
		err = os.WriteFile(table, text.Bytes(), 0o644)
	}
	return report.failed(), err
}
