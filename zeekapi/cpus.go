package zeekapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxCPUs limits the CPUs in a list. It is more than Linux supports.
const MaxCPUs = 1 << 13

// OptionCPUAffinity has the CPUs of a node with more than one, see FormatCPUs. A node with
// a single CPU has Node.CPUAffinity instead, which Zeek's agents know. They ignore this
// option, and run the node on any CPU.
const OptionCPUAffinity = "cpu_affinity"

// CPUs returns the CPUs that the node runs on, ascending; nil for any. OptionCPUAffinity
// precedes CPUAffinity.
func (n Node) CPUs() ([]int64, error) {
	cpus, set, err := parsedOption(n, OptionCPUAffinity, ParseCPUs)
	switch {
	case err != nil:
		return nil, err
	case set:
		slices.Sort(cpus)
		return slices.Compact(cpus), nil
	case n.CPUAffinity != nil:
		return []int64{*n.CPUAffinity}, nil
	}
	return nil, nil
}

// SetCPUs makes the node run on CPUs, on any if there are none.
func (n *Node) SetCPUs(cpus []int64) {
	n.CPUAffinity = nil
	n.Options = slices.DeleteFunc(slices.Clone(n.Options), func(o Option) bool { return o.Name == OptionCPUAffinity })
	cpus = slices.Compact(slices.Sorted(slices.Values(cpus)))
	switch len(cpus) {
	case 0:
	case 1:
		n.CPUAffinity = &cpus[0]
	default:
		n.Options = append(n.Options, Option{OptionCPUAffinity, FormatCPUs(cpus)})
	}
	if len(n.Options) == 0 {
		n.Options = nil
	}
}

// Affinity returns the CPUs of the node in the form of FormatCPUs, "" for any. An invalid
// list is returned unchanged.
func (n Node) Affinity() string {
	cpus, err := n.CPUs()
	if err != nil {
		for _, o := range n.Options {
			if o.Name == OptionCPUAffinity {
				return o.Value
			}
		}
	}
	return FormatCPUs(cpus)
}

// ParseCPUs returns the CPUs of a list such as 4-11,20-30:2, in its order. The number
// after a colon is the step of a range.
func ParseCPUs(text string) ([]int64, error) {
	var all []int64
	for part := range strings.SplitSeq(text, ",") {
		bounds, step, stepped := strings.Cut(strings.TrimSpace(part), ":")
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
			if len(all) == MaxCPUs {
				return nil, fmt.Errorf("a list of CPUs has more than %d of them", MaxCPUs)
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

// FormatCPUs returns CPUs as a list of numbers and ranges, such as 0-3,8, in their order.
func FormatCPUs(cpus []int64) string {
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.FormatInt(cpus[i], 10)
		if j > i {
			part += "-" + strconv.FormatInt(cpus[j], 10)
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
