package importer

import (
	"errors"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/zeek"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// arguments are arguments of zeek.
type arguments struct {
	scripts []string // scripts, and assignments to options
	options []string // others, such as -C
	backend string   // the cluster backend whose script is among them, or ""
	tlsOff  bool     // Broker::disable_ssl=T is among them
	left    []leftWord
}

// leftWord is an argument that is not carried over.
type leftWord struct{ word, reason string }

// noOwnOptions is the reason for which options of zeek that some nodes have are not carried
// over.
const noOwnOptions = "an agent gives options of zeek to all its nodes; to do so, add them to node-args of the machine"

// multiHost is Zeek's script that configures ZeroMQ for several machines. zeekwire's agents
// do the same.
const multiHost = "misc/zeromq-multi-host-auto-setup"

// parseCommonArguments sorts the words of a command line that all nodes of a cluster have.
// Those that concern the whole cluster become settings.
func parseCommonArguments(words []string) arguments {
	backend, tlsOff := "", false
	rest := slices.DeleteFunc(slices.Clone(words), func(word string) bool {
		switch name := strings.TrimSuffix(strings.TrimPrefix(word, "policy/"), ".zeek"); {
		case name == "frameworks/cluster/backend/zeromq" || name == multiHost:
			backend = "zeromq"
		case name == "frameworks/cluster/backend/broker":
			backend = "broker"
		case word == "Broker::disable_ssl=T":
			tlsOff = true
		default:
			return false
		}
		return true
	})
	a := parseArguments(rest)
	a.backend, a.tlsOff = backend, tlsOff
	return a
}

// parseArguments sorts the words of a command line.
func parseArguments(words []string) arguments {
	var a arguments
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case zeekapi.CheckScript(word) == nil:
			a.scripts = append(a.scripts, word)
		case zeek.CheckArgs([]string{word}) == nil:
			a.options = append(a.options, word)
		case i+1 < len(words) && zeek.CheckArgs(words[i:i+2]) == nil:
			a.options = append(a.options, words[i:i+2]...)
			i++
		default:
			reason := zeek.CheckArgs([]string{word}).Error()
			if slices.Contains(otherOptions, word) && i+1 < len(words) {
				i++
				word += " " + words[i]
			}
			a.left = append(a.left, leftWord{word, reason})
		}
	}
	return a
}

// otherOptions are the options of zeek that have a value, and that no node can have.
var otherOptions = strings.Fields("-B --debug -c --cluster -d -h -i --iface -I --print-id -j --jobs -K --md5-hashkey -r --readfile -X --zeekygen -y")

// systemdWords splits the arguments of a command line of a systemd unit. It calls fail
// with what it leaves out.
func systemdWords(text string, fail func(word, reason string)) []string {
	words, err := shlex.Split(text)
	if err != nil {
		fail(text, err.Error())
		return nil
	}
	return slices.DeleteFunc(words, func(word string) bool {
		for _, special := range []string{"%", "$"} {
			if strings.Contains(word, special) {
				fail(word, "systemd replaces the text after "+special)
				return true
			}
		}
		return false
	})
}

// systemdVariable returns the value of a variable in a unit as a process gets it.
func systemdVariable(name, value string) (string, error) {
	if strings.Contains(strings.ReplaceAll(value, "%%", ""), "%") {
		return "", errors.New("systemd replaces the text after %")
	}
	words, err := shlex.Split(name + "=" + strings.ReplaceAll(value, "%%", "%"))
	switch {
	case err != nil:
		return "", err
	case len(words) > 1:
		return "", errors.New("systemd takes the text after the first blank for another variable; put the value in quotes")
	}
	return strings.TrimPrefix(words[0], name+"="), nil
}

// shellValue returns the value of a variable that ZeekControl has written into a
// command line of a shell.
func shellValue(value string) (string, error) {
	if strings.ContainsAny(unquoted(value), "$`") {
		return "", errors.New("ZeekControl lets a shell replace $ and backquotes; write the value that it has there")
	}
	words, err := shlex.Split(value)
	switch {
	case err != nil:
		return "", err
	case len(words) == 0:
		return "", nil
	case len(words) > 1:
		return "", errors.New("a shell takes the text after the first blank for an argument; put the value in quotes")
	}
	return words[0], nil
}

// unquoted returns s without what is in single quotes.
func unquoted(s string) string {
	parts := strings.Split(s, "'")
	var out []string
	for i, part := range parts {
		if i%2 == 0 {
			out = append(out, part)
		}
	}
	return strings.Join(out, "")
}
