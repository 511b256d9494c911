package clusterfile

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// sharedKeys lists the keys of both nodes and [cluster] that zeek-client does not have.
var sharedKeys = []string{"args", "log_expiry", "memory_limit", "networks"}

// extraKeys lists the keys of a node that zeek-client does not have.
var extraKeys = append([]string{workersKey, "groups"}, sharedKeys...)

// shared are the values of sharedKeys.
type shared struct {
	args    []string // assignments to options of Zeek
	options []zeekapi.Option
}

// optionChecks maps the options of a node that have the name of a key to the functions
// that check their values.
var optionChecks = map[string]func(value string) error{
	zeekapi.OptionMemoryLimit: func(value string) error {
		_, err := zeekapi.ParseMemory(value)
		return err
	},
	zeekapi.OptionLogExpiry: func(value string) error {
		_, err := zeekapi.ParseExpiry(value)
		return err
	},
}

// readShared reads the values of sharedKeys. The function get returns the value of a key,
// and report receives errors about values.
func readShared(get func(key string) string, report func(key string, err error)) shared {
	var s shared
	read := func(key string, parse func(value string) error) {
		if value := get(key); value != "" {
			if err := parse(value); err != nil {
				report(key, err)
			}
		}
	}
	read("args", func(value string) (err error) {
		s.args, err = parseArgs(value)
		return err
	})
	read("networks", func(value string) error {
		nets, err := parseNetworks(value)
		if err == nil {
			err = checkNew(s.args, networksOption)
		}
		s.args = append(s.args, NetworksWord(nets))
		return err
	})
	for _, name := range []string{zeekapi.OptionLogExpiry, zeekapi.OptionMemoryLimit} {
		read(name, func(value string) error {
			s.options = append(s.options, zeekapi.Option{Name: name, Value: value})
			return optionChecks[name](value)
		})
	}
	return s
}

// parseArgs parses assignments to options of Zeek, words as in a shell.
func parseArgs(text string) ([]string, error) {
	words, err := shlex.Split(text)
	if err != nil {
		return nil, err
	}
	var args []string
	for _, word := range words {
		switch {
		case strings.HasPrefix(word, "-"):
			return nil, fmt.Errorf("%q is a flag; args are assignments such as ignore_checksums=T, and flags for all nodes of an agent belong to its setting node-args", word)
		case !zeekapi.IsAssignment(word):
			return nil, fmt.Errorf("%q is not an assignment such as Pcap::snaplen=9216; scripts belong to scripts", word)
		}
		if err := checkNew(args, zeekapi.AssignedOption(word)); err != nil {
			return nil, err
		}
		args = append(args, word)
	}
	return args, nil
}

// checkNew returns an error if one of the assignments sets an option already.
func checkNew(args []string, option string) error {
	if slices.ContainsFunc(args, func(arg string) bool { return zeekapi.AssignedOption(arg) == option }) {
		return fmt.Errorf("%s has a value already", option)
	}
	return nil
}

// networksOption is the option of Zeek that has the local networks.
const networksOption = "Site::local_nets"

// NetworksWord returns the assignment that the key networks adds to the scripts of nodes.
func NetworksWord(networks []netip.Prefix) string {
	var nets []string
	for _, n := range networks {
		shown := n.String()
		if n.Addr().Is6() {
			shown = fmt.Sprintf("[%s]/%d", n.Addr(), n.Bits())
		}
		if !slices.Contains(nets, shown) {
			nets = append(nets, shown)
		}
	}
	return networksOption + "={" + strings.Join(nets, ",") + "}"
}

// parseNetworks parses networks. An address is a network of that address alone.
func parseNetworks(text string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, word := range words(text) {
		prefix, err := netip.ParsePrefix(word)
		if addr, errAddr := netip.ParseAddr(word); err != nil && errAddr == nil && addr.Zone() == "" {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.0.0.0/8 or 2001:db8::/32", word)
		}
		nets = append(nets, prefix.Masked())
	}
	return nets, nil
}

// parseEnv parses variables, words as in a shell. The error is zeek-client's.
func parseEnv(text string) (map[string]string, error) {
	words, err := shlex.Split(text)
	env := make(map[string]string, len(words))
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			err = errors.New("no assignment")
		}
		env[key] = value
	}
	if err != nil {
		return nil, fmt.Errorf("env value %s is invalid", quote(text))
	}
	return env, nil
}

// readGroups returns the groups of a node as options.
func readGroups(text string) ([]zeekapi.Option, error) {
	var options []zeekapi.Option
	for _, name := range words(text) {
		if err := selection.CheckGroup(name); err != nil {
			return nil, err
		}
		options = append(options, zeekapi.Option{Name: zeekapi.OptionGroup, Value: name})
	}
	return options, nil
}
