package zeekapi

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// MaxInstanceNodes limits the nodes of one instance.
const MaxInstanceNodes = 1000

// assignment matches an assignment to an option.
var assignment = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_]\w*(::[A-Za-z_]\w*)*=`) })

// IsAssignment reports whether Zeek treats a word on its command line as an assignment to
// an option, such as AF_Packet::fanout_id=24.
func IsAssignment(word string) bool { return assignment().MatchString(word) }

// AssignedOption returns the option that a word assigns, or "" if it is no assignment.
func AssignedOption(word string) string {
	if !IsAssignment(word) {
		return ""
	}
	name, _, _ := strings.Cut(word, "=")
	return name
}

// BackendScripts is the prefix of the names of Zeek's scripts for cluster backends, broker
// and zeromq. A node of Zeek 8.1 or later must load one of them.
const BackendScripts = "policy/frameworks/cluster/backend/"

// IsScript reports whether Zeek treats a word on its command line as a script, and not as
// a flag, a plugin or an assignment (Zeek: src/Options.cc).
func IsScript(word string) bool {
	return word != "" && word[0] != '-' && !strings.Contains(word, "=") && !strings.Contains(word, "::")
}

// CheckScript returns an error unless a word is a script for Zeek, or an assignment.
func CheckScript(word string) error {
	if IsScript(word) || IsAssignment(word) {
		return nil
	}
	return fmt.Errorf("%q does not name a script", word)
}

// maxInterfaceName is the size of the longest name of a network interface, in bytes.
// (Linux: IFNAMSIZ)
const maxInterfaceName = 15

// NetworkInterface returns the name of the network interface that a node with this packet
// source reads from. It returns "" if that may not be an interface of the machine. The
// error says that no machine can have the interface.
func NetworkInterface(source string) (string, error) {
	method, device, ok := strings.Cut(source, "::")
	if !ok {
		method, device = "pcap", source
	}
	if device == "" && ok {
		return "", fmt.Errorf("%q does not name an interface", source)
	}
	if method != "pcap" && method != "af_packet" {
		return "", nil
	}
	// Variants of PF_RING, and devices of libpcap that are not interfaces.
	if strings.ContainsAny(device, ":@,;") {
		return "", nil
	}
	for _, other := range []string{"any", "nflog", "nfqueue", "usbmon", "bluetooth", "dbus-"} {
		if strings.HasPrefix(device, other) {
			return "", nil
		}
	}
	if strings.ContainsAny(device, "/ \t\r\n\v\f") || len(device) > maxInterfaceName || device == "." || device == ".." {
		return "", fmt.Errorf("interface %q: no network interface can have this name", device)
	}
	return device, nil
}

// CheckCPU returns an error if no machine has a CPU with this number.
func CheckCPU(number int64) error {
	if number < 0 {
		return fmt.Errorf("CPU %d does not exist", number)
	}
	return nil
}

// CheckCPUs returns an error if no machine has the CPUs of a node, or if their list is
// invalid.
func CheckCPUs(n Node) error {
	cpus, err := n.CPUs()
	if err != nil {
		return err
	}
	for _, cpu := range cpus {
		if err := CheckCPU(cpu); err != nil {
			return err
		}
	}
	return nil
}
