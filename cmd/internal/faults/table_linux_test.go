package faults

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"testing"
	"text/tabwriter"
)

// row is a line of the table at the end.
type row struct {
	fault, where string

	acknowledged int // changes
	refused      int // changes, during the fault
	lost         int // changes that were acknowledged, and were not there after a kill
	recovered    string
	remark       string
	elsewhere    bool // a test of another package, which does not count
}

var table struct {
	sync.Mutex
	rows []rowResult
}

type rowResult struct {
	*row
	t *testing.T
}

// report adds a row to the table when the test ends. Lost changes are an error.
func report(t *testing.T, fault, where string) *row {
	r := &row{fault: fault, where: where}
	t.Cleanup(func() {
		if r.lost > 0 {
			t.Errorf("%d of %d acknowledged changes are lost", r.lost, r.acknowledged)
		}
		table.Lock()
		defer table.Unlock()
		table.rows = append(table.rows, rowResult{r, t})
	})
	return r
}

func printTable() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	if len(table.rows) > 0 {
		fmt.Fprintln(w, "FAULT\tWHERE\tACKNOWLEDGED\tREFUSED\tLOST\tRECOVERED\tOUTCOME")
	}
	for _, r := range table.rows {
		outcome := "ok"
		switch {
		case r.t.Failed():
			outcome = "FAILED"
		case r.t.Skipped():
			outcome = "not tested"
		}
		if r.remark != "" {
			outcome += ", " + r.remark
		}
		counts := fmt.Sprintf("%d\t%d\t%d\t%s", r.acknowledged, r.refused, r.lost, cmp.Or(r.recovered, "no"))
		if r.elsewhere {
			counts = "-\t-\t-\t-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.fault, r.where, counts, outcome)
	}
}
