package clusterfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Foreign returns an error of type configparser.Errors if the text of a file is
// recognizably something else than a cluster configuration: binary data, YAML, JSON
// of another kind, a file of ZeekControl, or a zeek.conf. Parse reads some of these files, and
// ignores what it does not know. The name appears in errors.
func Foreign(name string, text []byte) error {
	fail := func(line int, format string, args ...any) error {
		return configparser.Errors{{File: name, Line: line, Text: fmt.Sprintf(format, args...)}}
	}
	if configparser.IsUTF16(text) {
		_, err := configparser.Read(name, bytes.NewReader(text))
		return err
	}
	if bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text) && mostlyBinary(text) {
		return fail(0, "this is binary data, not a cluster configuration")
	}
	if json.Valid(text) {
		if problem := foreignJSON(text); problem != "" {
			return fail(1, "%s", problem)
		}
		return nil
	}
	if IsJSON(text) {
		return nil // ParseJSON reports the error
	}
	if line := zeekControlSettings(text); line > 0 {
		return fail(line, "this is a file of settings of ZeekControl, such as zeekctl.cfg, not a cluster configuration; %s", convert)
	}
	if line := zeekConfLine(name, text); line > 0 {
		return fail(line, "this is a zeek.conf, the configuration of Zeek's generator for systemd; %s", convert)
	}
	if line := yamlLine(text); line > 0 {
		return fail(line, "this looks like YAML; a cluster configuration is an INI file, or JSON as printed by \"get-config --as-json\"")
	}
	return zeekControlNodes(name, text)
}

// convert is the advice for files of other programs.
const convert = "convert it with \"zeekwire import\""

// mostlyBinary reports whether more than a tenth of the text is not UTF-8. A text in
// another encoding has less.
func mostlyBinary(text []byte) bool {
	text = text[:min(len(text), 8<<10)]
	invalid := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			invalid++
		}
		i += size
	}
	return invalid*10 > len(text)
}

// foreignJSON returns what is wrong with a valid JSON text that has no configuration,
// or "".
func foreignJSON(text []byte) string {
	const form = "a configuration is an object with \"instances\" and \"nodes\", as printed by \"get-config --as-json\""
	if !IsJSON(text) {
		return "this is JSON, but no object; " + form
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || len(members) == 0 {
		return ""
	}
	for _, key := range []string{"instances", "nodes"} {
		if _, ok := members[key]; ok {
			return ""
		}
	}
	return "this is JSON of another kind; " + form
}

// zeekControlKeys maps keys of ZeekControl's node.cfg to what replaces them. No
// cluster file of zeek-client has one.
var zeekControlKeys = map[string]string{
	"host":     "instance, the name of the machine's agent",
	"lb_procs": "one section for each worker",
	// The method of load balancing is the prefix of the interface.
	"lb_method": "the prefix of interface, such as af_packet::eth0",
	"pin_cpus":  "cpu_affinity",
	"env_vars":  "env, with blanks between the variables",
}

// zeekControlNodes recognizes a node.cfg of ZeekControl. A file that also has keys of
// zeek-client is a cluster file, in which each of the foreign keys is an error.
func zeekControlNodes(name string, text []byte) error {
	file, err := configparser.ReadRaw(name, bytes.NewReader(text))
	if file == nil || err != nil {
		return nil // Parse reports the error
	}
	var errs configparser.Errors
	ours := file.Section(instancesSection) != nil
	for _, s := range file.Sections {
		if s.Name == instancesSection {
			continue
		}
		ours = ours || s.Option("instance") != nil || s.Option("role") != nil
		for _, o := range s.Options {
			if instead, ok := zeekControlKeys[o.Key]; ok {
				errs.Add(&configparser.Error{File: name, Line: o.Line, Section: s.Name, Key: o.Key,
					Text: fmt.Sprintf("%q is a key of ZeekControl; use %s", o.Key, instead)})
			}
		}
	}
	if len(errs) == 0 {
		return nil
	}
	if !ours {
		first := errs[0]
		first.Text = fmt.Sprintf("this is a file of ZeekControl, which has the key %q; %s", first.Key, convert)
		return configparser.Errors{first}
	}
	return errs
}

// zeekControlOptions are common options of zeekctl.cfg, in lower case.
var zeekControlOptions = []string{
	"mailto", "mailfrom", "mailconnectionsummary", "mailhostupdown", "mindiskspace", "logrotationinterval", "logexpireinterval",
	"statslogenable", "statslogexpireinterval", "statuscmdshowall", "crashexpireinterval", "sitepolicyscripts", "logdir", "spooldir",
	"brokerdbdir", "cfgdir", "fileextractdir", "zeekargs", "zeekport", "zeekbase", "stoptimeout", "commandtimeout", "compresslogs",
	"sendmail", "makearchivename", "memlimit", "keeplogs", "pcapsnaplen", "pcapbufsize", "lb_custom.interfaceprefix",
}

// zeekControlSettings returns the first line with an option of zeekctl.cfg before any
// section, or 0.
func zeekControlSettings(text []byte) int {
	for number, line := range linesBeforeSections(text) {
		key, _, ok := strings.Cut(line, "=")
		if ok && slices.Contains(zeekControlOptions, strings.ToLower(strings.TrimSpace(key))) {
			return number
		}
	}
	return 0
}

// zeekConfKeys are keys of a zeek.conf that is not divided into sections.
var zeekConfKeys = []string{"manager", "loggers", "proxies", "workers", "workers_cpu_list", "cluster_backend_args", "cluster_node_prefix", "base_dir"}

// zeekConfLine returns the first line of a text that only a zeek.conf has, or 0: a key
// before any section, or a section for the machine or for an interface.
func zeekConfLine(name string, text []byte) int {
	for number, line := range linesBeforeSections(text) {
		key, _, ok := strings.Cut(line, "=")
		if ok && slices.Contains(zeekConfKeys, strings.TrimSpace(key)) {
			return number
		}
	}
	file, err := configparser.ReadRaw(name, bytes.NewReader(text))
	if file == nil || err != nil {
		return 0
	}
	for _, s := range file.Sections {
		if (s.Name == "zeek" || strings.HasPrefix(s.Name, "interface ")) && s.Option("instance") == nil && s.Option("role") == nil && s.Option("type") == nil {
			return s.Line
		}
	}
	return 0
}

// yamlStart matches a first line that is YAML.
var yamlStart = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(---|%YAML|- |[A-Za-z_][\w.-]*:( |$))`) })

// yamlLine returns the first line of a text if it is YAML, or 0.
func yamlLine(text []byte) int {
	for number, line := range linesBeforeSections(text) {
		if yamlStart().MatchString(line) {
			return number
		}
		return 0
	}
	return 0
}

// linesBeforeSections returns the lines before the first section that are neither
// empty nor comments, with their numbers.
func linesBeforeSections(text []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		number := 0
		for line := range bytes.Lines(text) {
			number++
			line = bytes.TrimSpace(line)
			switch {
			case len(line) == 0 || line[0] == '#' || line[0] == ';':
				continue
			case line[0] == '[' || !yield(number, string(line)):
				return
			}
		}
	}
}
