package clusterfile

import (
	"fmt"
	"strconv"
	"strings"
)

// maxCPUs limits the CPUs in a list.
const maxCPUs = 1 << 13 // more than Linux supports

// parseCPUs returns the CPUs of a list such as 4-11,20-30:2, in its order. The number
// after a colon is the step of a range.
func parseCPUs(text string) ([]int64, error) {
	var all []int64
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		bounds, step, stepped := strings.Cut(part, ":")
		first, last, isRange := strings.Cut(bounds, "-")
		if !isRange {
			last = first
		}
		if !stepped {
			step = "1"
		}
		from, errFrom := parseCPU(first)
		to, errTo := parseCPU(last)
		by, errBy := parseCPU(step)
		if errFrom != nil || errTo != nil || errBy != nil || to < from || by == 0 || stepped && !isRange {
			return nil, fmt.Errorf("%q is not a list of CPUs such as 4-11,20-30:2", text)
		}
		for cpu := from; cpu <= to; cpu += by {
			if len(all) == maxCPUs {
				return nil, fmt.Errorf("a list of CPUs has more than %d of them", maxCPUs)
			}
			all = append(all, cpu)
		}
	}
	return all, nil
}

func parseCPU(text string) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	return int64(n), err
}
