package zeek

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// nodeArgs are the arguments of zeek that all nodes have.
type nodeArgs struct {
	options []string // such as "-C", each with its value
	words   []string // scripts, plugins and assignments of variables
	scripts []string // those of words

	// writing are the options that make zeek write files into its directory.
	writing []string
}

// option is an option of zeek that nodes can have.
type option struct {
	short  byte
	long   string
	value  bool // whether it has one
	writes bool // whether it makes zeek write a file
}

// options are the options of a Supervisor that its nodes inherit, except those with which
// zeek does not run as a node (Zeek: Options::filter_supervised_node_options), and the
// optimization of scripts.
var options = []option{
	{short: 'b', long: "bare-mode"},
	{short: 'C', long: "no-checksums"},
	{short: 'D', long: "deterministic"},
	{short: 'e', long: "exec", value: true},
	{short: 'f', long: "filter", value: true},
	{short: 'F', long: "force-dns"},
	{short: 'G', long: "load-seeds", value: true},
	{short: 'H', long: "save-seeds", value: true, writes: true},
	{short: 'O', long: "optimize", value: true},
	{short: 'p', long: "prefix", value: true},
	{short: 's', long: "rulefile", value: true},
	{short: 't', long: "tracefile", value: true, writes: true},
	{short: 'T', long: "re-level", value: true},
	{short: 'U', long: "status-file", value: true, writes: true},
	{short: 'w', long: "writefile", value: true, writes: true},
	{short: 'W', long: "watchdog"},
}

// CheckArgs returns an error if the words are not valid as Config.Args.
func CheckArgs(words []string) error {
	_, err := parseArgs(words)
	return err
}

// parseArgs sorts arguments, because zeek may take all words after the first script for
// scripts (getopt, POSIXLY_CORRECT).
func parseArgs(words []string) (nodeArgs, error) {
	var a nodeArgs
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch {
		case word == "":
			return a, errors.New("an argument is empty")
		case strings.HasSuffix(word, "--"):
			return a, fmt.Errorf("%q cannot be an argument of all nodes: zeek takes the rest for arguments of a script", word)
		case word == "-":
			return a, errors.New(`"-" cannot be an argument of all nodes: they have no standard input`)
		case word[0] == '-':
			o, arg, err := parseOption(word)
			if err != nil {
				return a, err
			}
			list := &a.options
			if o.writes {
				list = &a.writing
			}
			if !o.value || arg {
				*list = append(*list, word)
				continue
			}
			if len(words) == 0 {
				return a, fmt.Errorf("option %s needs a value", word)
			}
			*list = append(*list, word, words[0])
			words = words[1:]
		default:
			a.words = append(a.words, word)
			if zeekapi.IsScript(word) {
				a.scripts = append(a.scripts, word)
			}
		}
	}
	return a, nil
}

// parseOption parses a word that begins with an option, and reports whether the word
// contains its value.
func parseOption(word string) (o option, withValue bool, err error) {
	name, _, assigned := strings.Cut(word, "=")
	found := func(o option) bool { return "--"+o.long == name }
	if !strings.HasPrefix(word, "--") {
		name = word[:2]
		assigned = len(word) > 2
		found = func(o option) bool { return o.short == word[1] }
	}
	i := slices.IndexFunc(options, found)
	if i < 0 {
		return option{}, false, fmt.Errorf("option %s of zeek cannot be an argument of all nodes", name)
	}
	if o = options[i]; assigned && !o.value {
		return option{}, false, fmt.Errorf("option %s has no value: %q; separate options by blanks", name, word)
	}
	return o, assigned, nil
}

// in returns a with absolute paths for the scripts that are files relative to dir. As with
// a Supervisor, the others are found by the nodes.
func (a nodeArgs) in(dir string) nodeArgs {
	absolute := func(words []string) []string {
		words = slices.Clone(words)
		for i, word := range words {
			if zeekapi.IsScript(word) && isFile(dir, word) {
				words[i] = filepath.Join(dir, word)
			}
		}
		return words
	}
	a.words, a.scripts = absolute(a.words), absolute(a.scripts)
	return a
}

// isFile reports whether the name of a script refers to a file relative to dir.
func isFile(dir, script string) bool {
	if filepath.IsAbs(script) {
		return false
	}
	base := filepath.Join(dir, script)
	return slices.ContainsFunc(scriptFilesAt(base), func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && info.Mode().IsRegular()
	})
}

// scriptFilesAt returns the files to which a path of a script can refer.
func scriptFilesAt(base string) []string {
	return []string{base, base + ".zeek", filepath.Join(base, "__load__.zeek")}
}

// all returns all arguments.
func (a nodeArgs) all() []string { return slices.Concat(a.options, a.writing, a.words) }
