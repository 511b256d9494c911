package zeek

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// checkCPUs returns an error if a node cannot be pinned to its CPUs.
func checkCPUs(n zeekapi.Node) error {
	if err := zeekapi.CheckCPUs(n); err != nil {
		return err
	}
	cpus, _ := n.CPUs()
	var allowed unix.CPUSet
	if len(cpus) == 0 || unix.SchedGetaffinity(0, &allowed) != nil {
		return nil // the start of the node reports it
	}
	var available, missing []int64
	for i := range int64(len(allowed) * 64) {
		if allowed.IsSet(int(i)) {
			available = append(available, i)
		}
	}
	for _, cpu := range cpus {
		if !slices.Contains(available, cpu) {
			missing = append(missing, cpu)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("CPU %d is not available (available: %s)", missing[0], zeekapi.FormatCPUs(available))
	}
	return fmt.Errorf("CPUs %s are not available (available: %s)", zeekapi.FormatCPUs(missing), zeekapi.FormatCPUs(available))
}

// listening returns the TCP ports at which processes listen, except those of the given
// process groups, with a description of the listening program.
func listening(groups map[int]string) map[uint16]string {
	ports := make(map[uint16]string)
	sockets := make(map[string]uint16) // by "socket:[inode]"
	// The functions of procfs for these tables are deprecated, and fail at the first
	// line that they cannot parse.
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if port, inode, ok := listener(lines.Text()); ok {
				ports[port] = unknownListener
				sockets["socket:["+inode+"]"] = port
			}
		}
		f.Close()
	}
	_ = proc.Each(func(pid int, stat proc.Stat) {
		held := heldPorts(pid, sockets)
		if len(held) == 0 {
			return
		}
		by := fmt.Sprintf("%s (process %d)", stat.Name, pid)
		for _, port := range held {
			if _, ours := groups[stat.Group]; ours {
				delete(ports, port)
			} else if _, taken := ports[port]; taken {
				ports[port] = by
			}
		}
	})
	return ports
}

// listener parses a line of /proc/net/tcp; see proc_net(5). It returns false unless the
// line describes a listening socket.
func listener(line string) (port uint16, inode string, ok bool) {
	const stateListen = "0A"
	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != stateListen {
		return 0, "", false
	}
	_, hex, _ := strings.Cut(fields[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return uint16(n), fields[9], err == nil
}

// heldPorts returns the ports of the sockets that a process holds. It returns nil if the
// file descriptors of the process are not readable.
func heldPorts(pid int, sockets map[string]uint16) []uint16 {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return nil
	}
	targets, err := p.FileDescriptorTargets()
	if err != nil {
		return nil
	}
	var ports []uint16
	for _, target := range targets {
		if port, ok := sockets[target]; ok && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}
