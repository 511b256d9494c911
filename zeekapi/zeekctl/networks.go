package zeekctl

import (
	"io"
	"net/netip"
	"strings"
)

// Network is a local network.
type Network struct {
	Prefix netip.Prefix
	Name   string // what follows the prefix in the file
	Line   int
}

// ParseNetworks reads a networks.cfg. The name appears in errors. An error about the
// content is of type configparser.Errors and contains all errors. Unlike ZeekControl,
// it refuses networks that Zeek would not accept.
func ParseNetworks(name string, r io.Reader) ([]Network, error) {
	f := failures{file: name}
	var all []Network
	err := f.lines(r, func(number, column int, line string) {
		cidr := strings.Fields(line)[0]
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			f.fail(number, column, "invalid CIDR notation in file: %s", cidr)
			return
		}
		all = append(all, Network{prefix.Masked(), strings.TrimSpace(line[len(cidr):]), number})
	})
	if err != nil {
		return nil, err
	}
	return all, f.err()
}
