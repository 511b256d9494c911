package zeekctl

import (
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// MaxSize limits the size of each file in bytes.
const MaxSize = 1 << 20

// maxErrors limits the reported errors of a file.
const maxErrors = 100

// Option is an option of zeekctl.cfg, or a key of a node.
type Option struct {
	Name    string // in lower case
	Written string // as in the file
	Value   string
	File    string
	Line    int
	Column  int // of the value, in characters, starting at 1
}

// kind is the type of the value of an option.
type kind int

const (
	text kind = iota
	boolean
	integer
)

// known is an option that ZeekControl knows.
type known struct {
	name string // as in ZeekControl's documentation
	kind kind
	now  string // the present name of a renamed option, which ZeekControl refuses; "" for others
}

// knownOptions are the options of zeekctl.cfg, by their names in lower case.
var knownOptions = func() map[string]known {
	all := map[string]known{}
	add := func(k kind, names string) {
		for name := range strings.FieldsSeq(names) {
			all[strings.ToLower(name)] = known{name: name, kind: k}
		}
	}
	add(boolean, `Debug HaveNFS SaveTraces CompressLogs PrivateAddressSpaceIsLocal MailConnectionSummary MailHostUpDown
		MailArchiveLogFail MailReceivingPackets StatsLogEnable StatusCmdShowAll StopWait UseWebSocket StandAlone`)
	add(integer, `StopTimeout CommTimeout CommandTimeout ZeekPort MetricsPort LogRotationInterval CompressLogsInFlight
		MailAlarmsInterval MinDiskSpace StatsLogExpireInterval CrashExpireInterval PFRINGClusterID PFRINGFirstAppInstance
		PcapSnaplen PcapBufsize WebSocketPort WebSocketTimeout LogExpireMinutes`)
	add(text, `ClusterBackend ControlTopic MetricsAddress LogDir MakeArchiveName CompressCmd CompressExtension SendMail
		MailSubjectPrefix MailReplyTo MailTo MailFrom MailAlarmsTo LogExpireInterval KeepLogs ZeekArgs MemLimit Env_Vars TimeFmt
		Prefixes SitePolicyScripts CronCmd PFRINGClusterType TimeMachineHost TimeMachinePort WebSocketHost WebSocketUrl
		ZeekBase Version OS Time BinDir Zeek ScriptsDir PostProcDir HelperDir CfgDir SpoolDir BrokerDBDir FileExtractDir
		PolicyDir StaticDir LibDir LibDir64 LibDirInternal TmpDir TmpExecDir StatsDir PluginDir PluginZeekDir TraceSummary
		CapstatsPath NodeCfg LocalNetsCfg StateFile LockFile DebugLog StatsLog DefaultStoreDir SitePolicyPath SitePluginPath
		PolicyDirSiteInstall PolicyDirSiteInstallAuto ZeekCtlConfigDir ClusterTopicSeparator`)
	for old, now := range map[string]string{
		"BroPort": "ZeekPort", "BroArgs": "ZeekArgs", "BroBase": "ZeekBase", "Bro": "Zeek", "PluginBroDir": "PluginZeekDir",
		"BroCtlConfigDir": "ZeekCtlConfigDir",
	} {
		all[strings.ToLower(old)] = known{name: old, now: now}
	}
	return all
}()

// OptionNames returns the names of the options of ZeekControl, in lower case and sorted,
// without those of plugins and those that have another name now.
func OptionNames() []string {
	var names []string
	for name, k := range knownOptions {
		if k.now == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Options are the options of zeekctl.cfg. The zero value has none.
type Options struct {
	// All are the options in the order of the file. An option that occurs again
	// replaces the first, and only the last is in All.
	All []*Option

	// Unknown are the options that ZeekControl ignores with a warning, and Replaced
	// those that occur again.
	Unknown, Replaced []*Option
}

// Get returns the option with a name in lower case, or nil.
func (o Options) Get(name string) *Option {
	for _, option := range o.All {
		if option.Name == name {
			return option
		}
	}
	return nil
}

// Text returns the value of an option, or a default.
func (o Options) Text(name, otherwise string) string {
	if option := o.Get(name); option != nil {
		return option.Value
	}
	return otherwise
}

// Int returns the value of an integer option, or a default.
func (o Options) Int(name string, otherwise int) int {
	if option := o.Get(name); option != nil {
		n, _ := parseInt(option.Value)
		return n
	}
	return otherwise
}

// Bool returns the value of a boolean option, or a default.
func (o Options) Bool(name string, otherwise bool) bool {
	if option := o.Get(name); option != nil {
		b, _ := parseBool(option.Value)
		return b
	}
	return otherwise
}

// failures collects errors of a file.
type failures struct {
	file string
	errs configparser.Errors
}

func (f *failures) fail(line, column int, format string, args ...any) {
	if len(f.errs) < maxErrors {
		f.errs.Add(&configparser.Error{File: f.file, Line: line, Column: column, Text: fmt.Sprintf(format, args...)})
	}
}

// err returns the errors, or nil.
func (f *failures) err() error {
	if len(f.errs) == 0 {
		return nil
	}
	return f.errs
}

// lines calls handle with each line of a file, without blanks around it, and with the
// column of the first character. It leaves out empty lines and comments.
func (f *failures) lines(r io.Reader, handle func(number, column int, line string)) error {
	content, err := configparser.ReadAll(f.file, r, MaxSize)
	if err != nil {
		return err
	}
	number := 0
	for whole := range strings.Lines(string(content)) {
		number++
		trimmed := strings.TrimSpace(whole)
		switch {
		case !utf8.ValidString(whole):
			f.fail(number, 0, "line is not UTF-8")
		case trimmed == "" || trimmed[0] == '#':
		default:
			handle(number, utf8.RuneCountInString(whole[:strings.Index(whole, trimmed)])+1, trimmed)
		}
	}
	return nil
}

// ParseOptions reads a zeekctl.cfg. The name appears in errors. An error about the
// content is of type configparser.Errors and contains all errors.
func ParseOptions(name string, r io.Reader) (Options, error) {
	f := failures{file: name}
	var o Options
	err := f.lines(r, func(number, column int, line string) {
		written, value, ok := strings.Cut(line, "=")
		if !ok {
			f.fail(number, column, "zeekctl config syntax error: %s", line)
			return
		}
		option := &Option{Written: strings.TrimSpace(written), Value: strings.TrimSpace(value), File: name, Line: number, Column: column}
		option.Name = strings.ToLower(option.Written)
		if option.Value != "" {
			option.Column += utf8.RuneCountInString(written) + 1 + utf8.RuneCountInString(value[:strings.Index(value, option.Value)])
		}
		o.add(option)
	})
	if err != nil {
		return Options{}, err
	}
	for _, option := range o.All {
		f.check(option)
	}
	f.checkExpiry(o)
	return o, f.err()
}

// add adds an option, which replaces an earlier one.
func (o *Options) add(option *Option) {
	if _, ok := knownOptions[option.Name]; !ok && !strings.Contains(option.Name, ".") {
		o.Unknown = append(o.Unknown, option)
		return
	}
	for i, earlier := range o.All {
		if earlier.Name == option.Name {
			o.Replaced = append(o.Replaced, earlier)
			o.All = append(o.All[:i], o.All[i+1:]...)
			break
		}
	}
	o.All = append(o.All, option)
}

// The names that options of plugins can have, since they become variables of a shell.
var optionName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9_.]+$`) })

// check reports errors in an option.
func (f *failures) check(o *Option) {
	k := knownOptions[o.Name]
	quoted := func(q string) bool { return strings.HasPrefix(o.Value, q) && strings.HasSuffix(o.Value, q) }
	typeError := func(name string) {
		f.fail(o.Line, o.Column, "zeekctl option '%s' has invalid value '%s' for type %s", o.Name, o.Value, name)
	}
	switch {
	case k.now != "":
		f.fail(o.Line, o.Column, "option '%s' is no longer supported, please use '%s' instead", k.name, k.now)
		return
	case !optionName().MatchString(o.Name):
		f.fail(o.Line, o.Column, "zeekctl option name \"%s\" contains invalid characters (allowed characters: a-z, 0-9, ., and _)", o.Name)
	case o.Name[0] >= '0' && o.Name[0] <= '9':
		f.fail(o.Line, o.Column, "zeekctl option name \"%s\" cannot start with a number", o.Name)
	case k.kind == text && (quoted(`"`) || quoted("'")):
		f.fail(o.Line, o.Column, "value of zeekctl option \"%s\" cannot be wrapped in quotes", o.Name)
	}
	switch k.kind {
	case boolean:
		if _, ok := parseBool(o.Value); !ok {
			typeError("bool")
		}
	case integer:
		if _, ok := parseInt(o.Value); !ok {
			typeError("int")
		}
	}
	if n, ok := parseInt(o.Value); ok && strings.HasSuffix(o.Name, "port") && k.kind == integer && (n < 0 || n > 65535) {
		f.fail(o.Line, o.Column, "zeekctl option '%s' has invalid value '%s': no port has this number", o.Name, o.Value)
	}
}

// interval matches the values of LogExpireInterval with a unit.
var interval = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]+) ?(day|hr|min)s?$`) })

// minutesOf returns the minutes of an interval such as 30 or 12 hrs.
func minutesOf(s string) (int, bool) {
	if days, ok := parseInt(s); ok {
		return days * 24 * 60, true
	}
	match := interval().FindStringSubmatch(s)
	if match == nil {
		return 0, false
	}
	n, ok := parseInt(match[1])
	return n * map[string]int{"day": 24 * 60, "hr": 60, "min": 1}[match[2]], ok
}

// LogExpireMinutes returns the age in minutes at which logs expire, 0 for never.
func (o Options) LogExpireMinutes() int {
	minutes, _ := minutesOf(o.Text("logexpireinterval", "0"))
	return max(0, minutes)
}

func (f *failures) checkExpiry(o Options) {
	option := o.Get("logexpireinterval")
	if option == nil {
		return
	}
	minutes, ok := minutesOf(option.Value)
	if !ok {
		f.fail(option.Line, option.Column,
			"value of zeekctl option \"logexpireinterval\" is invalid (value must be integer followed by a time unit \"day\", \"hr\", or \"min\"): %s", option.Value)
	} else if 0 < minutes && 60*minutes < o.Int("logrotationinterval", 3600) {
		f.fail(option.Line, option.Column, "Log expire interval cannot be shorter than the log rotation interval")
	}
}

// parseBool parses a boolean of zeekctl.cfg.
func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "1", "true":
		return true, true
	case "0", "false":
		return false, true
	}
	return false, false
}

// parseInt parses an integer as Python does, within 32 bits.
func parseInt(s string) (int, bool) {
	n, ok := configparser.ParseInt(s)
	if !ok || !n.IsInt64() || n.Int64() < math.MinInt32 || n.Int64() > math.MaxInt32 {
		return 0, false
	}
	return int(n.Int64()), true
}

// reference matches a reference to an option.
var reference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$\{[A-Za-z][A-Za-z0-9]*\}`) })

// directories are the defaults of options for directories and files.
var directories = map[string]string{
	"bindir": "${ZeekBase}/bin", "zeek": "${BinDir}/zeek", "logdir": "${ZeekBase}/logs", "spooldir": "${ZeekBase}/spool",
	"policydir": "${ZeekBase}/share/zeek", "sitepolicypath": "${PolicyDir}/site", "cfgdir": "${ZeekBase}/etc",
	"nodecfg": "${CfgDir}/node.cfg", "localnetscfg": "${CfgDir}/networks.cfg",
	"brokerdbdir": "${ZeekBase}/spool/brokerstore", "fileextractdir": "${SpoolDir}/extract_files", "defaultstoredir": "${SpoolDir}/stores",
}

// Path returns the value of an option for a directory or a file, or its default. The
// argument base is the directory of the installation, if no option says it. The
// result is "" if it depends on an unknown installation.
func (o Options) Path(name, base string) string {
	if option := o.Get(name); option != nil {
		return option.Value
	}
	if name == "zeekbase" {
		return base
	}
	unknown := false
	path := reference().ReplaceAllStringFunc(directories[name], func(ref string) string {
		value := o.Path(strings.ToLower(ref[2:len(ref)-1]), base)
		unknown = unknown || value == ""
		return value
	})
	if unknown {
		return ""
	}
	return path
}
