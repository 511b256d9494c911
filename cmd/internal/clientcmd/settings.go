package clientcmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// settingsVariable is the environment variable that holds settings.
const settingsVariable = "ZEEK_CLIENT_CONFIG_SETTINGS"

// tokenVariable is the environment variable that holds the client's token.
const tokenVariable = "ZEEKWIRE_TOKEN"

// parameters are the settings of the client commands, converted to the types
// in which they are used.
type parameters struct {
	timeout    time.Duration // limit of a request
	attempts   int           // to connect
	retryDelay time.Duration // between attempts
	richLog    bool
	prettyJSON bool
	verbosity  int

	transport, dialect string // "auto" unless set
	token              string // sent to the controller; "" for none
	insecureToken      bool   // sent even if the controller's certificate is not verified

	host      string // of the controller, with brackets around IPv6
	port      int
	usualPort bool // port is the default, and another transport has another one

	// remotes are all controllers, of which host and port are one. Nil means that there
	// is only this one.
	remotes []remote

	tls         bool
	certificate string // PEM file, "" for none
	keyFile     string // PEM file, "" for none
	caFile      string // PEM file, "" for none
	caPath      string // directory of PEM files, "" for none
	passphrase  string // of the private key
	renewFrom   string // HOST:PORT at which the controller renews the certificate, "" for nowhere

	requireAltName bool // refuse a controller whose certificate has its name only as common name
}

// declaration declares one setting: its name, its default and its type.
type declaration struct {
	section, key string

	// initial is the default, in the syntax of the settings file.
	initial string

	// extension marks a setting that zeek-client does not have. It is part of the
	// settings only while it has a value, so that show-settings prints what
	// zeek-client prints.
	extension bool

	// set converts a value and stores it.
	set func(p *parameters, value string) error
}

// declarations lists all settings in the order in which show-settings prints
// them.
var declarations = []declaration{
	{section: "client", key: "request_timeout_secs", initial: "20", set: func(p *parameters, value string) error { // Zeek's controller responds within 12 s
		n, err := integer(value, 1)
		p.timeout = time.Duration(n) * time.Second
		return err
	}},
	{section: "client", key: "peering_attempts", initial: "10", set: intSetting(func(p *parameters) *int { return &p.attempts }, 1)},
	{section: "client", key: "peering_retry_delay_secs", initial: "1.0", set: func(p *parameters, value string) (err error) { // also the timeout of an attempt
		p.retryDelay, err = seconds(value)
		return err
	}},
	{section: "client", key: "rich_logging_format", initial: "False", set: boolSetting(func(p *parameters) *bool { return &p.richLog })},
	{section: "client", key: "pretty_json", initial: "True", set: boolSetting(func(p *parameters) *bool { return &p.prettyJSON })},
	{section: "client", key: "verbosity", initial: "0", set: intSetting(func(p *parameters) *int { return &p.verbosity }, -1)},
	{section: "client", key: "transport", initial: "auto", extension: true, set: textSetting(func(p *parameters) *string { return &p.transport })},
	{section: "client", key: "dialect", initial: "auto", extension: true, set: textSetting(func(p *parameters) *string { return &p.dialect })},
	{section: "client", key: "token", extension: true, set: textSetting(func(p *parameters) *string { return &p.token })},
	{section: "client", key: "insecure_token", initial: "False", extension: true, set: boolSetting(func(p *parameters) *bool { return &p.insecureToken })},
	{section: "controller", key: "host", initial: "127.0.0.1", set: func(p *parameters, value string) error {
		if strings.Contains(value, ":") && !strings.HasPrefix(value, "[") {
			value = "[" + value + "]"
		}
		p.host = value
		return nil
	}},
	{section: "controller", key: "port", initial: "2149", set: intSetting(func(p *parameters) *int { return &p.port }, math.MinInt32)},
	{section: "controller", key: "addresses", extension: true, set: func(p *parameters, value string) (err error) { // in place of host and port
		if value != "" {
			p.remotes, err = parseRemotes(value)
		}
		if err == nil && p.remotes != nil {
			p.use(p.remotes[0])
		}
		return err
	}},
	{section: "ssl", key: "enable", initial: "False", set: boolSetting(func(p *parameters) *bool { return &p.tls })},
	{section: "ssl", key: "certificate", set: textSetting(func(p *parameters) *string { return &p.certificate })},
	{section: "ssl", key: "keyfile", set: textSetting(func(p *parameters) *string { return &p.keyFile })},
	{section: "ssl", key: "cafile", set: textSetting(func(p *parameters) *string { return &p.caFile })},
	{section: "ssl", key: "capath", set: textSetting(func(p *parameters) *string { return &p.caPath })},
	{section: "ssl", key: "passphrase", set: textSetting(func(p *parameters) *string { return &p.passphrase })},
	{section: "ssl", key: "renew_from", extension: true, set: func(p *parameters, value string) error { // written by "zeekwire join"
		if _, _, err := net.SplitHostPort(value); value != "" && err != nil {
			return errors.New("want HOST:PORT")
		}
		p.renewFrom = value
		return nil
	}},
	{section: "ssl", key: "require_altname", initial: "False", extension: true, set: boolSetting(func(p *parameters) *bool { return &p.requireAltName })},
}

func textSetting(field func(*parameters) *string) func(*parameters, string) error {
	return func(p *parameters, value string) error {
		*field(p) = value
		return nil
	}
}

func boolSetting(field func(*parameters) *bool) func(*parameters, string) error {
	return func(p *parameters, value string) error {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "1", "yes", "true", "on":
			*field(p) = true
		case "0", "no", "false", "off":
			*field(p) = false
		default:
			return errors.New("want a boolean, such as yes or no")
		}
		return nil
	}
}

func intSetting(field func(*parameters) *int, minimum int) func(*parameters, string) error {
	return func(p *parameters, value string) (err error) {
		*field(p), err = integer(value, minimum)
		return err
	}
}

func integer(value string, minimum int) (int, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	switch {
	case err == nil && int(n) >= minimum:
		return int(n), nil
	case minimum > 0:
		return 0, fmt.Errorf("want an integer from %d", minimum)
	}
	return 0, errors.New("want an integer")
}

func seconds(value string) (time.Duration, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || !(f >= 0 && f <= 1e9) {
		return 0, errors.New("want a number of seconds")
	}
	return time.Duration(f * float64(time.Second)), nil
}

// setting is a setting with the value that one source gives it.
type setting struct {
	section, key string
	value        string // may refer to other settings of the section
	origin       string // named in errors; "" for the default
	inherited    bool   // from [DEFAULT] of a file
}

// layer holds the settings of one source. An element without a key stands for
// a section, which may be empty.
type layer []setting

// settings are the settings of all sources, in the order of show-settings.
// Later layers override earlier ones. Settings without a declaration are kept,
// because others may refer to them.
type settings struct{ sections []*section }

type section struct {
	name     string
	settings []setting
}

func (s *settings) section(name string) *section {
	for _, x := range s.sections {
		if x.name == name {
			return x
		}
	}
	x := &section{name: name}
	s.sections = append(s.sections, x)
	return x
}

// find returns the setting with that key, or nil.
func (s *section) find(key string) *setting {
	i := slices.IndexFunc(s.settings, func(x setting) bool { return x.key == key })
	if i < 0 {
		return nil
	}
	return &s.settings[i]
}

// find returns a setting, or nil if no source has it.
func (s *settings) find(section, key string) *setting { return s.section(section).find(key) }

// add adds a layer, which overrides the layers added before.
func (s *settings) add(l layer) {
	for _, x := range l {
		in := s.section(x.section)
		if x.key == "" {
			continue
		}
		x.key = strings.ToLower(x.key)
		if before := in.find(x.key); before != nil {
			*before = x
		} else {
			in.settings = append(in.settings, x)
		}
	}
}

// defaults returns the default settings.
func defaults() layer {
	var l layer
	for _, d := range declarations {
		if !d.extension {
			l = append(l, setting{section: d.section, key: d.key, value: d.initial})
		}
	}
	return l
}

// references matches values whose references are well-formed.
var references = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([^%]|%%|%\([^)]+\)s)*$`) })

// parseItems parses items of the form SECTION.KEY=VALUE and returns the
// invalid ones, too.
func parseItems(items []string, origin string) (l layer, invalid []string) {
	for _, item := range items {
		name, value, hasValue := strings.Cut(item, "=")
		section, key, hasKey := strings.Cut(name, ".")
		if !hasValue || !hasKey || section == "" || section == configparser.DefaultSection || key == "" || !references().MatchString(value) {
			invalid = append(invalid, item)
			continue
		}
		l = append(l, setting{section: section, key: key, value: value, origin: origin})
	}
	return l, invalid
}

// readSettings returns the settings of a file. If thorough is true, comments behind a
// value are errors, which zeek-client makes a part of the value.
func readSettings(name string, thorough bool) (layer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// References may name settings of other layers, so they are resolved later.
	file, err := configparser.ReadRaw(name, f)
	if err != nil {
		return nil, err
	}
	var l layer
	var errs configparser.Errors
	if thorough {
		errs = file.Misread(isDeclared)
	}
	for _, in := range file.Sections {
		l = append(l, setting{section: in.Name})
		for _, o := range in.Options {
			if !o.HasValue {
				errs.Add(&configparser.Error{File: name, Line: o.Line, Section: in.Name, Key: o.Key,
					Text: fmt.Sprintf("setting %s.%s needs a value", in.Name, o.Key)})
			}
			l = append(l, setting{in.Name, o.Key, o.Value, fmt.Sprintf("%s:%d", name, o.Line), o.Inherited})
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return l, nil
}

// splitRemote splits HOST:PORT, either of which may be missing. Its errors tell how to
// use TLS.
func splitRemote(text string) (host, port string, err error) {
	host, port, err = address.Split(text)
	var url *address.URLError
	switch {
	case errors.As(err, &url) && url.Secure():
		err = fmt.Errorf("%w, with --set ssl.enable=yes for TLS", err)
	case port == "0":
		err = fmt.Errorf("port %q is not in 1..65535", port)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host, port, err
}

// remote is the address of a controller.
type remote struct {
	host string // with brackets around IPv6
	port int    // 0: the default port of the transport
}

// use sets the address of the controller.
func (p *parameters) use(a remote) {
	p.host, p.port, p.usualPort = a.host, cmp.Or(a.port, connect.WebSocketPort), a.port == 0
}

// configured returns the address of the controller according to the settings.
func (p *parameters) configured() remote {
	if p.usualPort {
		return remote{host: p.host}
	}
	return remote{p.host, p.port}
}

// at returns the address of the controller.
func (r *run) at() remote {
	if chosen := r.chosen.Load(); chosen != nil {
		return *chosen
	}
	return r.configured()
}

// addresses returns the addresses of all controllers, the present one first.
func (r *run) addresses() []remote {
	all := r.remotes
	if len(all) == 0 {
		all = []remote{r.configured()}
	}
	i := slices.Index(all, r.at())
	if i < 0 {
		return append([]remote{r.at()}, all...)
	}
	return append(slices.Clone(all[i:]), all[:i]...)
}

// parseRemotes parses a comma-separated list of addresses of controllers.
func parseRemotes(text string) ([]remote, error) {
	var all []remote
	for item := range strings.SplitSeq(text, ",") {
		host, port, err := splitRemote(strings.TrimSpace(item))
		if err == nil && host == "" {
			err = fmt.Errorf("%q has no host, want HOST:PORT, HOST:PORT", strings.TrimSpace(item))
		}
		a := remote{host: host}
		if err == nil && port != "" {
			a.port, err = strconv.Atoi(port)
		}
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all, nil
}

// splitController is like splitRemote, in the way of zeek-client.
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

// urlSettings returns the settings of a controller whose address is the URL of its HTTP API,
// and the address in it. For other addresses it returns no settings.
func urlSettings(text string) (layer, string) {
	text = strings.TrimSuffix(text, "/")
	scheme, address, _ := strings.Cut(text, "://")
	if scheme != "http" && scheme != "https" || strings.ContainsAny(address, "/?#@") {
		return nil, text
	}
	enable, port := "False", "80"
	if scheme == "https" {
		enable, port = "True", "443"
	}
	if _, given, err := splitRemote(address); err == nil && given == "" {
		address += ":" + port
	}
	return layer{
		{section: "client", key: "transport", value: string(connect.HTTP), origin: "--controller"},
		{section: "ssl", key: "enable", value: enable, origin: "--controller"},
	}, address
}

// flagSettings returns the settings that have flags of their own.
func (t *Tool) flagSettings() (layer, error) {
	var l layer
	if t.Extended && strings.Contains(t.flags.controller, ",") {
		l = append(l, setting{section: "controller", key: "addresses", value: configparser.Escape(t.flags.controller), origin: "--controller"})
	} else if t.flags.controller != "" {
		split, remote := splitController, t.flags.controller
		if t.Extended {
			split = splitRemote
			l, remote = urlSettings(remote)
		}
		host, port, err := split(remote)
		if err != nil {
			return nil, err
		}
		if host != "" || port == "" {
			l = append(l, setting{section: "controller", key: "host", value: configparser.Escape(host), origin: "--controller"})
		}
		if port != "" {
			l = append(l, setting{section: "controller", key: "port", value: configparser.Escape(port), origin: "--controller"})
		}
	}
	if t.flags.transport != "" {
		l = append(l, setting{section: "client", key: "transport", value: configparser.Escape(t.flags.transport), origin: "--transport"})
	}
	if t.flags.dialect != "" {
		l = append(l, setting{section: "client", key: "dialect", value: configparser.Escape(t.flags.dialect), origin: "--dialect"})
	}
	if t.flags.insecureToken {
		l = append(l, setting{section: "client", key: "insecure_token", value: "True", origin: "--insecure-token"})
	}
	if t.flags.verbose > 0 {
		l = append(l, setting{section: "client", key: "verbosity", value: strconv.Itoa(t.flags.verbose), origin: "-v"})
	}
	return l, nil
}

// fileSettings returns the settings of the file that a flag or the environment
// names, or else of the installed one. Only a file named by the flag must exist.
func (t *Tool) fileSettings() (layer, error) {
	file := cmp.Or(t.flags.configFile, t.Getenv("ZEEK_CLIENT_CONFIG_FILE"), t.ConfigFile)
	if file == "" {
		return nil, nil
	}
	l, err := readSettings(file, t.Extended)
	if errors.Is(err, fs.ErrNotExist) && (t.flags.configFile == "" || !t.Extended) {
		return nil, nil
	}
	if err != nil && t.Extended && errors.As(err, new(*fs.PathError)) {
		err = fmt.Errorf("settings file %s: %w", file, reasonOf(err))
	}
	return l, err
}

// gather returns the settings of all sources: the defaults, a file, the
// environment and the flags. It reports invalid items to m.
func (t *Tool) gather(m messages) (*settings, error) {
	words, err := shlex.Split(t.Getenv(settingsVariable))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settingsVariable, err)
	}
	environment, invalid := parseItems(words, settingsVariable)
	file, err := t.fileSettings()
	if err != nil {
		return nil, err
	}
	for _, item := range invalid {
		m.error("config item \"%s\" in ZEEK_CLIENT_CONFIG_SETTINGS invalid. Please use <section.key>=<val>.", item)
	}
	s := new(settings)
	s.add(defaults())
	s.add(environment) // zeek-client adds it twice: this sets the order of show-settings
	s.add(file)
	s.add(environment)
	if token := t.Getenv(tokenVariable); token != "" {
		s.add(layer{{section: "client", key: "token", value: configparser.Escape(token), origin: tokenVariable}})
	}
	items, invalid := parseItems(t.flags.set, "--set")
	for _, item := range invalid {
		hint := ""
		if t.Extended && strings.Contains(item, "%") {
			hint = " Write %% for a %."
		}
		m.error("config item \"%s\" invalid. Please use <section.key>=<val>.%s", item, hint)
	}
	s.add(items)
	if t.Extended {
		for _, x := range slices.Concat(environment, file) {
			if text := s.unknown(x); text != "" {
				m.warning("%s%s", text, x.place())
			}
		}
	}
	flags, err := t.flagSettings()
	s.add(flags)
	if several := s.find("controller", "addresses"); several != nil && t.flags.controller != "" {
		several.value, several.origin = configparser.Escape(t.flags.controller), "--controller" // one or several
	}
	return s, err
}

// unknown returns the text about a setting that has no effect, or "". A setting that
// others refer to has an effect.
func (s *settings) unknown(x setting) string {
	if x.key == "" || x.inherited || isDeclared(x.section, strings.ToLower(x.key)) {
		return ""
	}
	for _, other := range s.section(x.section).settings {
		if strings.Contains(strings.ToLower(other.value), "%("+strings.ToLower(x.key)+")s") {
			return ""
		}
	}
	return unknownSetting(x.section + "." + x.key)
}

// isDeclared reports whether there is a setting of that name, which is in lower case.
func isDeclared(section, key string) bool {
	if section == "ssl" && key == "disable" {
		return true // deprecated, see checkedOptions
	}
	return slices.ContainsFunc(declarations, func(d declaration) bool { return d.section == section && d.key == key })
}

// unknownSetting returns the text about a setting that does not exist.
func unknownSetting(name string) string {
	var names []string
	for _, d := range declarations {
		names = append(names, d.section+"."+d.key)
	}
	if meant, near := nearest.Name(strings.ReplaceAll(strings.ToLower(name), "-", "_"), names); near {
		return fmt.Sprintf("unknown setting %s, did you mean %s?", name, meant)
	}
	return fmt.Sprintf("unknown setting %s, see \"zeekwire show-settings\"", name)
}

// checkSet returns an error if the values of --set do not all set an existing setting.
// zeek-client ignores those that do not.
func (t *Tool) checkSet() error {
	var errs []error
	for _, item := range t.flags.set {
		l, invalid := parseItems([]string{item}, "--set")
		switch {
		case len(invalid) > 0:
			errs = append(errs, fmt.Errorf("--set %q: want SECTION.KEY=VALUE", item))
		case !isDeclared(l[0].section, strings.ToLower(l[0].key)):
			errs = append(errs, fmt.Errorf("--set %q: %s", item, unknownSetting(l[0].section+"."+l[0].key)))
		}
	}
	return errors.Join(errs...)
}

// parameters resolves the references in all values and converts the values
// of declared settings.
func (s *settings) parameters() (parameters, error) {
	expanded, err := s.expand()
	if err != nil {
		return parameters{}, err
	}
	var p parameters
	var errs []error
	for _, d := range declarations {
		x := expanded.find(d.section, d.key)
		if x == nil || d.extension && x.value == "" {
			x = &setting{value: d.initial}
		}
		if err := d.set(&p, x.value); err != nil {
			errs = append(errs, fmt.Errorf("setting %s.%s is %q, %w%s", d.section, d.key, x.value, err, x.place()))
		}
	}
	return p, errors.Join(errs...)
}

// expand returns the settings with all references resolved.
func (s *settings) expand() (*settings, error) {
	out := new(settings)
	var errs []error
	for _, in := range s.sections {
		lookup := func(key string) (string, bool) {
			if x := in.find(key); x != nil {
				return x.value, true
			}
			return "", false
		}
		for _, x := range in.settings {
			value, err := configparser.Expand(x.value, lookup)
			if err != nil {
				errs = append(errs, fmt.Errorf("value of %s.%s: %w%s", x.section, x.key, err, x.place()))
			}
			x.value = value
			out.add(layer{x})
		}
	}
	return out, errors.Join(errs...)
}

// place names the origin of a setting, for the end of an error.
func (x *setting) place() string {
	if x.origin == "" {
		return ""
	}
	return " (" + x.origin + ")"
}

// write returns the settings in the format of a settings file, except that it
// replaces a token.
func (s *settings) write() ([]byte, error) {
	var w configparser.Writer
	for _, in := range s.sections {
		w.Section(in.name)
		for _, x := range in.settings {
			if x.section == "client" && x.key == "token" && x.value != "" {
				x.value = "(hidden)"
			}
			w.KeyText(x.key, x.value)
		}
	}
	return w.Bytes()
}
