package clientcmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// settings are zeek-client's: keys in sections, in the order in which
// show-settings prints them. The values are as in an INI file, with references.
//
// Ours, client.transport, client.dialect and client.token, have no defaults
// among them, so that show-settings prints what it does in zeek-client.
type settings struct {
	sections []*settingsSection
	portSet  bool // controller.port is no default
}

// settingsVariable is the environment variable with settings.
const settingsVariable = "ZEEK_CLIENT_CONFIG_SETTINGS"

// tokenVariable is the environment variable with a token for the controller.
const tokenVariable = "ZEEKWIRE_TOKEN"

type settingsSection struct {
	name   string
	keys   []string
	values map[string]string
	from   map[string]string // where a value comes from, for errors; "" for defaults
}

// defaultSettings returns what holds unless a file, the environment or the
// command line say otherwise.
func defaultSettings() *settings {
	s := new(settings)
	for _, d := range [][3]string{
		{"client", "request_timeout_secs", "20"}, // Zeek's controller takes up to 12
		{"client", "peering_attempts", "10"},
		{"client", "peering_retry_delay_secs", "1.0"}, // and the time limit of an attempt
		{"client", "rich_logging_format", "False"},
		{"client", "pretty_json", "True"},
		{"client", "verbosity", "0"},
		{"controller", "host", "127.0.0.1"},
		{"controller", "port", "2149"},
		{"ssl", "enable", "False"},
		{"ssl", "certificate", ""},
		{"ssl", "keyfile", ""},
		{"ssl", "cafile", ""},
		{"ssl", "capath", ""},
		{"ssl", "passphrase", ""},
	} {
		s.set(d[0], d[1], d[2], "")
	}
	s.portSet = false
	return s
}

// section returns the section of that name, if need be a new one.
func (s *settings) section(name string) *settingsSection {
	for _, x := range s.sections {
		if x.name == name {
			return x
		}
	}
	in := &settingsSection{name: name, values: map[string]string{}, from: map[string]string{}}
	s.sections = append(s.sections, in)
	return in
}

func (s *settings) set(section, key, value, from string) {
	key = strings.ToLower(key)
	in := s.section(section)
	if _, ok := in.values[key]; !ok {
		in.keys = append(in.keys, key)
	}
	in.values[key], in.from[key] = value, from
	s.portSet = s.portSet || section == "controller" && key == "port"
}

// references matches values whose percent signs make sense.
var references = regexp.MustCompile(`^([^%]|%%|%\([^)]+\)s)*$`)

// apply takes SECTION.KEY=VALUE and reports whether it was that.
func (s *settings) apply(item, from string) bool {
	name, value, ok1 := strings.Cut(item, "=")
	section, key, ok2 := strings.Cut(name, ".")
	if !ok1 || !ok2 || section == "" || section == configparser.DefaultSection || key == "" || !references.MatchString(value) {
		return false
	}
	s.set(section, key, value, from)
	return true
}

// readFile takes the settings of a file.
func (s *settings) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// References may be to settings that the file does not have.
	file, err := configparser.ReadRaw(name, f)
	if err != nil {
		return err
	}
	var errs configparser.Errors
	for _, section := range file.Sections {
		s.section(section.Name)
		for _, o := range section.Options {
			if !o.HasValue {
				errs.Add(&configparser.Error{File: name, Line: o.Line, Section: section.Name, Key: o.Key,
					Text: fmt.Sprintf("setting %s.%s needs a value", section.Name, o.Key)})
			}
			s.set(section.Name, o.Key, o.Value, fmt.Sprintf("%s:%d", name, o.Line))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// splitController splits HOST:PORT of which either may be missing.
func splitController(address string) (host, port string, err error) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return address, "", nil
	}
	host, port = address[:i], address[i+1:]
	if strings.Contains(host, ":") {
		if !strings.HasPrefix(host, "[") {
			return "", "", errors.New("IPv6 addresses must be surrounded by brackets: [<ipv6>]:<port>")
		}
		if strings.HasSuffix(port, "]") {
			return address, "", nil
		}
	}
	return host, port, nil
}

// controller takes what --controller says.
func (s *settings) controller(address string) error {
	host, port, err := splitController(address)
	if err != nil {
		return err
	}
	if host != "" || port == "" {
		s.set("controller", "host", configparser.Escape(host), "--controller")
	}
	if port != "" {
		s.set("controller", "port", configparser.Escape(port), "--controller")
	}
	return nil
}

// hide replaces what nobody should see on a screen.
func (s *settings) hide() {
	for _, section := range s.sections {
		if section.name == "client" && section.values["token"] != "" {
			section.values["token"] = "(hidden)"
		}
	}
}

// ini returns the settings as an INI file.
func (s *settings) ini() ([]byte, error) {
	var w configparser.Writer
	for _, section := range s.sections {
		w.Section(section.name)
		for _, key := range section.keys {
			w.KeyValue(key, section.values[key])
		}
	}
	return w.Bytes()
}

// gather returns the settings that the flags and the environment make, and
// tells of items that are no settings.
func (t *Tool) gather(m messages) (*settings, error) {
	s := defaultSettings()
	items, err := shlex.Split(t.Getenv(settingsVariable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingsVariable, err)
	}
	for _, item := range items {
		s.apply(item, settingsVariable) // as zeek-client does, which sets the order of show-settings
	}
	file := t.flags.configFile
	if file == "" {
		file = cmp.Or(t.Getenv("ZEEK_CLIENT_CONFIG_FILE"), t.ConfigFile)
	}
	if file != "" {
		err := s.readFile(file)
		if errors.Is(err, fs.ErrNotExist) && (t.flags.configFile == "" || !t.People) {
			err = nil
		}
		if err != nil {
			return nil, err
		}
	}
	for _, item := range items {
		if !s.apply(item, settingsVariable) {
			m.error("config item \"%s\" in ZEEK_CLIENT_CONFIG_SETTINGS invalid. Please use <section.key>=<val>.", item)
		}
	}
	if token := t.Getenv(tokenVariable); token != "" {
		s.set("client", "token", configparser.Escape(token), tokenVariable)
	}
	for _, item := range t.flags.set {
		if !s.apply(item, "--set") {
			m.error("config item \"%s\" invalid. Please use <section.key>=<val>.", item)
		}
	}
	if t.flags.controller != "" {
		if err := s.controller(t.flags.controller); err != nil {
			return nil, err
		}
	}
	if t.flags.transport != "" {
		s.set("client", "transport", configparser.Escape(t.flags.transport), "--transport")
	}
	if t.flags.dialect != "" {
		s.set("client", "dialect", configparser.Escape(t.flags.dialect), "--dialect")
	}
	if t.flags.verbose > 0 {
		s.set("client", "verbosity", strconv.Itoa(t.flags.verbose), "-v")
	}
	return s, nil
}

// parameters are the settings in the types of their use.
type parameters struct {
	timeout    time.Duration // of a request
	attempts   int           // to connect
	retryDelay time.Duration
	richLog    bool
	prettyJSON bool
	verbosity  int

	host      string // of the controller, with brackets around IPv6
	port      int
	usualPort bool // nobody set the port

	transport, dialect string // "auto" unless set
	token              string // to authenticate by, "" for none

	tls         bool
	certificate string // files in PEM, "" for none
	keyFile     string
	caFile      string
	caPath      string // a directory of such files
	passphrase  string // of the key
	leftover    bool   // ssl.disable is set, of times when TLS was the default
}

// parameters resolves the references in the values and converts them.
func (s *settings) parameters() (parameters, error) {
	text, err := s.ini()
	if err != nil {
		return parameters{}, err
	}
	file, err := configparser.Read("settings", bytes.NewReader(text))
	if err != nil {
		return parameters{}, s.blame(err)
	}
	r := settingsReader{settings: s, file: file}
	p := parameters{
		timeout:     time.Duration(r.integer("client", "request_timeout_secs", 1)) * time.Second,
		attempts:    r.integer("client", "peering_attempts", 1),
		retryDelay:  r.seconds("client", "peering_retry_delay_secs"),
		richLog:     r.boolean("client", "rich_logging_format"),
		prettyJSON:  r.boolean("client", "pretty_json"),
		verbosity:   r.integer("client", "verbosity", -1),
		host:        r.text("controller", "host"),
		port:        r.integer("controller", "port", math.MinInt32),
		usualPort:   !s.portSet,
		transport:   r.optional("client", "transport", "auto"),
		dialect:     r.optional("client", "dialect", "auto"),
		token:       r.optional("client", "token", ""),
		tls:         r.boolean("ssl", "enable"),
		certificate: r.text("ssl", "certificate"),
		keyFile:     r.text("ssl", "keyfile"),
		caFile:      r.text("ssl", "cafile"),
		caPath:      r.text("ssl", "capath"),
		passphrase:  r.text("ssl", "passphrase"),
		leftover:    file.Section("ssl").Option("disable") != nil,
	}
	if strings.Contains(p.host, ":") && !strings.HasPrefix(p.host, "[") {
		p.host = "[" + p.host + "]"
	}
	return p, errors.Join(r.errs...)
}

// blame says of errors in the text of all settings where these come from.
func (s *settings) blame(err error) error {
	var errs configparser.Errors
	if !errors.As(err, &errs) {
		return err
	}
	var out []error
	for _, e := range errs {
		out = append(out, errors.New(e.Text+s.origin(e.Section, e.Key)))
	}
	return errors.Join(out...)
}

// origin says where a setting comes from, for the end of an error.
func (s *settings) origin(section, key string) string {
	if from := s.section(section).from[key]; from != "" {
		return " (" + from + ")"
	}
	return ""
}

type settingsReader struct {
	*settings
	file *configparser.File
	errs []error
}

// text returns a setting that has a default.
func (r *settingsReader) text(section, key string) string {
	return r.file.Section(section).Option(key).Value
}

// optional returns a setting of ours.
func (r *settingsReader) optional(section, key, otherwise string) string {
	if o := r.file.Section(section).Option(key); o != nil && o.Value != "" {
		return o.Value
	}
	return otherwise
}

func (r *settingsReader) wrong(section, key, want string) {
	r.errs = append(r.errs, fmt.Errorf("setting %s.%s is %q, want %s%s", section, key, r.text(section, key), want, r.origin(section, key)))
}

func (r *settingsReader) integer(section, key string, least int) int {
	n, err := strconv.ParseInt(strings.TrimSpace(r.text(section, key)), 10, 32)
	if err != nil || int(n) < least {
		want := "an integer"
		if least > 0 {
			want += " from " + strconv.Itoa(least)
		}
		r.wrong(section, key, want)
	}
	return int(n)
}

func (r *settingsReader) seconds(section, key string) time.Duration {
	f, err := strconv.ParseFloat(strings.TrimSpace(r.text(section, key)), 64)
	if err != nil || !(f >= 0 && f <= 1e9) {
		r.wrong(section, key, "a number of seconds")
		return 0
	}
	return time.Duration(f * float64(time.Second))
}

func (r *settingsReader) boolean(section, key string) bool {
	switch strings.ToLower(r.text(section, key)) {
	case "1", "yes", "true", "on":
		return true
	case "0", "no", "false", "off":
		return false
	}
	r.wrong(section, key, "a boolean, such as yes or no")
	return false
}
