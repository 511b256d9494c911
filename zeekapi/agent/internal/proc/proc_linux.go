package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Read returns the state of a process.
func Read(pid int) (Stat, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(file)
	if err != nil {
		return Stat{}, err
	}
	// The second field is the program's name in parentheses, in which there
	// may be anything.
	from, to := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if from < 0 || to < from {
		return Stat{}, fmt.Errorf("%s has no name of a program", file)
	}
	fields := strings.Fields(string(b[to+1:]))
	if len(fields) < 22 {
		return Stat{}, fmt.Errorf("%s has %d fields after the name, want 22", file, len(fields))
	}
	number := func(i int) uint64 {
		n, _ := strconv.ParseUint(fields[i], 10, 64) // the kernel writes numbers
		return n
	}
	return Stat{
		Name: string(b[from+1 : to]), Ended: fields[0] == "Z" || fields[0] == "X", StartTime: fields[19],
		Parent: int(number(1)), Group: int(number(2)),
		ticks: number(11) + number(12), resident: number(21) * uint64(os.Getpagesize()),
	}, nil
}

// Each calls f for all processes that have not ended.
func Each(f func(pid int, s Stat)) error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := Read(pid); err == nil && !s.Ended {
			f(pid, s)
		}
	}
	return nil
}
