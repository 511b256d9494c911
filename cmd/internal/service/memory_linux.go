package service

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memoryLimit returns the smallest limit of the control groups of this process, and
// of the memory of the machine, in bytes. It returns 0 if there is none. Root is the
// root of the file system.
func memoryLimit(root string) int64 {
	least := int64(0)
	consider := func(limit int64) {
		if limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	for _, line := range readLines(filepath.Join(root, "proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			consider(parse(strings.TrimSuffix(rest, "kB")) << 10)
		}
	}
	groups := controlGroups(root)
	for _, line := range readLines(filepath.Join(root, "proc/self/mounts")) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		var group, file string
		switch kind := fields[2]; {
		case kind == "cgroup2":
			group, file = groups[""], "memory.max"
		case kind == "cgroup" && strings.Contains(","+fields[3]+",", ",memory,"):
			group, file = groups["memory"], "memory.limit_in_bytes"
		default:
			continue
		}
		// The limits of all groups above apply, too. In a container, the own group
		// may be the root of what is mounted.
		for group = filepath.Join("/", group); ; group = filepath.Dir(group) {
			for _, text := range readLines(filepath.Join(root, fields[1], group, file)) {
				consider(parse(text)) // "max" is no number
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// controlGroups returns the control groups of this process by their controller, ""
// for the group of version 2.
func controlGroups(root string) map[string]string {
	groups := make(map[string]string)
	for _, line := range readLines(filepath.Join(root, "proc/self/cgroup")) {
		if fields := strings.SplitN(line, ":", 3); len(fields) == 3 {
			for controller := range strings.SplitSeq(fields[1], ",") {
				groups[controller] = fields[2]
			}
		}
	}
	return groups
}

// parse returns the number in a text, or 0.
func parse(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// readLines returns the lines of a file, none if it cannot be read.
func readLines(name string) (lines []string) {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}
