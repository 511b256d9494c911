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

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// checkCPU looks whether a node may be pinned to a CPU.
func checkCPU(cpu *int64) error {
	if cpu == nil {
		return nil
	}
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil // the node will say
	}
	var list []string
	for i := range len(allowed) * 64 {
		if allowed.IsSet(i) {
			if int64(i) == *cpu {
				return nil
			}
			list = append(list, strconv.Itoa(i))
		}
	}
	return fmt.Errorf("CPU %d is not available, only %s", *cpu, ranges(list))
}

// ranges shortens a list of ascending numbers: its first and last if it has no
// gaps.
func ranges(list []string) string {
	if len(list) > 2 {
		first, _ := strconv.Atoi(list[0])
		last, _ := strconv.Atoi(list[len(list)-1])
		if last-first == len(list)-1 {
			return list[0] + "-" + list[len(list)-1]
		}
	}
	return strings.Join(list, ",")
}

// listening returns the TCP ports that processes listen at, other than those of
// the groups named, and what there is to know of who does.
func listening(groups map[int]string) map[uint16]string {
	ports := make(map[uint16]string)
	sockets := make(map[string]uint16) // by "socket:[inode]"
	// The tables are read here because the functions of procfs for them are
	// deprecated, and give up at a line that they do not understand.
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

// listener reads a line of /proc/net/tcp, see proc_net(5).
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

// heldPorts returns at which of the sockets' ports a process listens, as far as
// we may know.
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
