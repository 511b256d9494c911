package clusterfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/selection"
)

// Sections that do not describe a node. Whether [cluster] does depends on Options
// and on its keys.
const (
	instancesSection = "instances"
	clusterSection   = "cluster"
)

// nodeKeys lists the keys of a node. Two more are accepted with a warning:
// type, which means role, and state.
var nodeKeys = []string{
	"instance", "role", "scripts", "port", "interface", "cpu_affinity", "env", "metrics_port",
}

// Options configures Parse. The zero Options is valid.
type Options struct {
	// Hostname is the name of the local machine; "" means "localhost". Nodes
	// that name no instance are assigned to the default instance of Zeek's
	// agent on that machine.
	Hostname string

	// Extended enables the syntax that zeek-client does not have: the sections [cluster]
	// and [group NAME], sections that describe several nodes, patterns of instances, and
	// further keys. If false, [cluster] and [group NAME] describe nodes, and
	// other keys have no effect, as for zeek-client.
	Extended bool

	// Site returns the ID of the site in a directory, which is named as in the
	// section [cluster], for Configuration.Site. Its error names the directory,
	// unless it has an Unwrap method that returns several errors, which are reported
	// separately. If nil, the key site has no effect.
	Site func(dir string) (id string, err error)

	// Resolve returns the addresses of a host, for agents given by name. If
	// nil, only addresses are accepted, as by zeek-client.
	Resolve func(host string) ([]netip.Addr, error)

	// Thorough adds errors and warnings about what zeek-client reads without a word,
	// but probably not as it was meant: errors about comments behind a value, and
	// about keys that continue the value of another. It omits one warning that is
	// wrong: that the key type is ignored.
	Thorough bool
}

// Parse reads an INI file and returns a configuration with a new random ID.
// The name appears in errors.
//
// An error about the content is of type configparser.Errors and contains all
// errors of the file; the warnings have the same type. Texts are those of
// zeek-client where it has the same error.
func Parse(name string, r io.Reader, o Options) (zeekapi.Configuration, configparser.Errors, error) {
	file, err := configparser.Read(name, r)
	var syntax configparser.Errors
	if err != nil && (file == nil || !errors.As(err, &syntax)) {
		return zeekapi.Configuration{}, nil, err
	}
	b := newBuilder(file, o)
	b.errs = syntax
	if o.Thorough {
		b.failMisread()
	}
	b.sections()
	if len(syntax) == 0 {
		b.finish()
	}
	if o.Thorough {
		b.warnOfSections()
	}
	if len(b.errs) > 0 {
		return zeekapi.Configuration{}, b.warnings, b.errs
	}
	b.config.ID = uuid.NewString()
	return b.config, b.warnings, nil
}

// builder builds the configuration from a file.
type builder struct {
	file     *configparser.File
	hostname string
	resolve  func(string) ([]netip.Addr, error)
	pack     func(string) (string, error) // Options.Site
	thorough bool
	extended bool
	places   *Places // of what is read, nil if they are not needed

	config   zeekapi.Configuration
	nodes    int                     // including invalid nodes
	free     []*configparser.Section // nodes that name no instance
	errs     configparser.Errors
	warnings configparser.Errors
	misread  map[place]bool // keys with a comment in their value, or with another key
	common   common
	groups   []group
	expander expander
	written  *configparser.Section // the section in the file, if the current node is one of several of that section
	quiet    bool                  // no warnings: another node of the section has had them
	derived  map[string]bool       // nodes of sections that describe several
}

func newBuilder(file *configparser.File, o Options) *builder {
	return &builder{
		file: file, hostname: cmp.Or(o.Hostname, "localhost"), resolve: o.Resolve, pack: o.Site, thorough: o.Thorough, extended: o.Extended,
		expander: expander{workers: map[string]int{}, names: map[string]int{}}, derived: map[string]bool{},
	}
}

// sections reads all sections.
func (b *builder) sections() {
	for _, s := range b.file.Sections {
		switch {
		case s.Name == instancesSection:
			b.instances(s)
		case b.extended && s.Name == clusterSection && !isNode(s):
			b.cluster(s)
		case b.extended && isGroup(s):
			b.group(s)
		case b.extended:
			b.nodesOf(s)
		default:
			b.node(s)
		}
	}
	if b.extended && b.places == nil {
		b.addCommon()
		b.addFanout()
		b.addGroups()
	}
}

// nodesOf adds the nodes that a section describes.
func (b *builder) nodesOf(s *configparser.Section) {
	for i, node := range b.expand(s) {
		if node != s {
			b.written, b.quiet, b.derived[node.Name] = s, i > 0, true
			b.places.addDerived(node, s)
		}
		b.node(node)
	}
	b.written, b.quiet = nil, false
}

// maxErrors limits the reported errors. A file with more is probably not a
// cluster configuration.
const maxErrors = 100

// fail reports an error. It ignores an error about the same key and line as an
// earlier one, and about a key that was misread, because it is a consequence.
func (b *builder) fail(line int, section, key, format string, args ...any) {
	if b.written != nil && section != instancesSection {
		section = b.written.Name // so that its nodes report each error once
	}
	if len(b.errs) >= maxErrors || b.misread[place{section, key}] || key != "" && slices.ContainsFunc(b.errs, func(e *configparser.Error) bool {
		return e.Line == line && e.Section == section && e.Key == key
	}) {
		return
	}
	b.errs.Add(&configparser.Error{File: b.file.Name, Line: line, Section: section, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) warn(line int, section, key, format string, args ...any) {
	if b.quiet {
		return
	}
	b.warnings.Add(&configparser.Error{File: b.file.Name, Line: line, Section: section, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) instances(s *configparser.Section) {
	for _, o := range s.Options {
		names, addresses := []string{o.Key}, []string{o.Value}
		if b.extended {
			var err error
			if names, addresses, err = b.expander.instances(o.Key, o.Value); err != nil {
				b.fail(o.Line, s.Name, o.Key, "invalid spec for instance %s: %v", quote(o.Key), err)
				continue
			}
		}
		for i, name := range names {
			b.instance(s, o, name, addresses[i])
		}
	}
}

// instance adds one of the instances that an entry describes.
func (b *builder) instance(s *configparser.Section, o *configparser.Option, name, address string) {
	b.places.add(s.Name, name, o.Line)
	if b.places != nil {
		return // the address may have to be resolved
	}
	instance := zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()}
	if address != "" {
		if text := b.address(address, &instance); text != "" {
			b.fail(o.Line, s.Name, o.Key, "invalid spec for instance %s: %s", quote(name), text)
			return
		}
	}
	b.config.Instances = append(b.config.Instances, instance)
}

// address parses HOST:PORT, with or without brackets around an IPv6 address.
// It returns a description of the error, or "".
func (b *builder) address(s string, into *zeekapi.Instance) string {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || i == len(s)-1 {
		return fmt.Sprintf("%s should be <host>:<port>", quote(s))
	}
	host := strings.Trim(s[:i], "[] ")
	addr, text := b.host(host)
	if text != "" {
		return fmt.Sprintf("host %s %s", quote(host), text)
	}
	port, ok := configparser.ParseInt(s[i+1:])
	if !ok || !isPort(port) {
		return fmt.Sprintf("port %s is not a number in 1..65535", quote(strings.TrimSpace(s[i+1:])))
	}
	into.Host = addr
	into.Port = broker.TCP(uint16(port.Uint64()))
	return ""
}

// host returns the address of a host, or a description of the error. A name
// must have a single address: with several it would not be known which one the
// agent listens on.
func (b *builder) host(host string) (addr netip.Addr, text string) {
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil && addr.Zone() == "":
		return addr.Unmap(), ""
	case err == nil:
		return addr, "has a zone, and addresses in Zeek have none: nodes on other machines could not connect to it. Use an address that is not link-local"
	case b.resolve == nil || strings.ContainsAny(host, ":%"):
		return addr, "is not an IP address"
	}
	found, err := b.resolve(host)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			err = errors.New(dns.Err) // omit the names of host and server
		}
		return addr, fmt.Sprintf("cannot be resolved: %v", err)
	}
	for i := range found {
		found[i] = found[i].Unmap().WithZone("")
	}
	slices.SortFunc(found, netip.Addr.Compare)
	found = slices.Compact(found)
	switch len(found) {
	case 0:
		return addr, "has no address"
	case 1:
		return found[0], ""
	}
	return addr, fmt.Sprintf("has several addresses, %v: use the one that its agent listens on", found)
}

// node adds a node, or reports all its errors.
func (b *builder) node(s *configparser.Section) {
	b.nodes++
	if s.Option("instance") == nil {
		b.free = append(b.free, s)
	}
	n := nodeReader{b, s}
	node := zeekapi.Node{Name: s.Name, State: zeekapi.StateRunning}
	if node.Instance = n.text("instance"); node.Instance == "" {
		node.Instance = "agent-" + b.hostname
	}
	if state := n.text("state"); state != "" {
		b.warn(s.Option("state").Line, s.Name, "state", "ignoring node %s state %s in configuration", quote(s.Name), quote(state))
	}
	node.Role = n.role()
	node.Port = n.port("port", "port")
	node.MetricsPort = n.port("metrics_port", "metrics port")
	node.Scripts = n.scripts()
	node.Interface = n.text("interface")
	node.Env = n.env()
	if b.extended {
		n.extras(&node)
	}
	n.affinity(&node)
	if b.thorough {
		n.warnOfEnv(node)
	}
	n.warnUnexpected()
	b.config.Nodes = append(b.config.Nodes, node)
}

// nodeReader reads the values of a node.
type nodeReader struct {
	*builder
	section *configparser.Section
}

// value returns the value of a key. The result ok is false if it has none.
func (n *nodeReader) value(key string) (value string, ok bool) {
	o := n.section.Option(key)
	if o == nil || !o.HasValue {
		return "", false
	}
	return o.Value, true
}

// text is like value, for keys whose value may be empty.
func (n *nodeReader) text(key string) string {
	value, _ := n.value(key)
	return value
}

// reject reports an error about a key, or about the node if the key is
// missing.
func (n *nodeReader) reject(key, format string, args ...any) {
	line := n.section.Line
	if o := n.section.Option(key); o != nil {
		line = o.Line
	}
	n.fail(line, n.section.Name, key, "invalid node %s configuration: %s", quote(n.section.Name), fmt.Sprintf(format, args...))
}

func (n *nodeReader) role() zeekapi.ClusterRole {
	key := "role"
	value, ok := n.value(key)
	if !ok && n.text("type") != "" {
		key = "type"
		value = n.text(key)
	}
	if value == "" {
		n.reject("role", "node requires a role")
		return ""
	}
	role, ok := roleOf(value)
	if !ok {
		n.reject(key, "role %s is invalid", quote(value))
	}
	return role
}

// roleOf returns the role with the given label, which may be qualified as in
// Zeek or in Python, and whether there is such a role.
func roleOf(label string) (zeekapi.ClusterRole, bool) {
	if i := strings.LastIndex(label, "::"); i >= 0 {
		label = label[i+len("::"):]
	}
	label = label[strings.LastIndexByte(label, '.')+1:]
	role := zeekapi.ClusterRole(strings.ToUpper(label))
	return role, role.Valid()
}

// number returns the integer value of a key, or nil if it has none.
func (n *nodeReader) number(key string) *big.Int {
	value, ok := n.value(key)
	if !ok {
		return nil
	}
	number, ok := configparser.ParseInt(value)
	if !ok {
		n.reject(key, "cannot convert %s value %s to int", quote(n.section.Name+"."+key), quote(value))
		return nil
	}
	return number
}

func (n *nodeReader) port(key, field string) broker.Port {
	number := n.number(key)
	if number == nil {
		return broker.Port{}
	}
	if !isPort(number) {
		n.reject(key, "%s %d outside valid range", field, number)
		return broker.Port{}
	}
	return broker.TCP(uint16(number.Uint64()))
}

func (n *nodeReader) scripts() []string {
	value := n.text("scripts")
	if value == "" {
		return nil
	}
	scripts, err := shlex.Split(value)
	if err != nil {
		n.reject("scripts", "%v", err)
		return nil
	}
	slices.Sort(scripts)
	return scripts
}

func (n *nodeReader) env() map[string]string {
	value := n.text("env")
	if value == "" {
		return nil
	}
	env, err := parseEnv(value)
	if err != nil {
		n.reject("env", "%v", err)
	}
	return env
}

// extras reads the keys that zeek-client does not have.
func (n *nodeReader) extras(node *zeekapi.Node) {
	s := readShared(n.text, func(key string, err error) { n.reject(key, "%s: %v", key, err) })
	node.Scripts, node.Options = append(node.Scripts, s.args...), s.options
	groups, err := readGroups(n.text("groups"))
	if err != nil {
		n.reject("groups", "%v", err)
	}
	node.Options = append(node.Options, groups...)
}

func (n *nodeReader) warnUnexpected() {
	var keys []string
	line := 0
	for _, o := range n.section.Options {
		if n.unexpected(o.Key) {
			keys = append(keys, o.Key)
			if line = cmp.Or(line, o.Line); o.Key == "state" {
				line = max(line, o.Line) // the warning follows the one about that line, as in zeek-client
			}
		}
	}
	if len(keys) > 0 {
		slices.Sort(keys)
		n.warn(line, n.section.Name, "", "ignoring unexpected keys: %s", strings.Join(keys, ", "))
	}
}

// finish checks the whole file and adds the implied instances.
func (b *builder) finish() {
	declared := b.file.Section(instancesSection)
	if len(b.free) > 0 {
		switch {
		case len(b.free) != b.nodes:
			b.fail(b.free[0].Line, b.free[0].Name, "instance", "either all or no nodes must state instances")
		case declared != nil:
			b.fail(declared.Line, instancesSection, "", "omit instances section when skipping instances in node definitions")
		}
	}
	named := map[string]bool{}
	for _, n := range b.config.Nodes {
		named[n.Instance] = true
	}
	if declared == nil {
		for _, name := range slices.Sorted(maps.Keys(named)) {
			b.config.Instances = append(b.config.Instances, zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()})
		}
		return
	}
	for _, o := range declared.Options {
		if o.Written != o.Key && b.named(o.Written, named) {
			b.warn(o.Line, instancesSection, o.Key, "instance %s is declared as %s, because keys fold to lower case, but nodes name it %s",
				quote(o.Written), quote(o.Key), quote(o.Written))
		}
	}
}

// named reports whether nodes name an instance, or an instance of a pattern.
func (b *builder) named(instance string, named map[string]bool) bool {
	names := []string{instance}
	if b.extended {
		names, _ = selection.Expand(instance) // its error has been reported
	}
	return slices.ContainsFunc(names, func(name string) bool { return named[name] })
}

// quote returns s in double quotes, without escapes, like zeek-client.
func quote(s string) string { return `"` + s + `"` }

func isPort(n *big.Int) bool { return n.IsInt64() && n.Int64() >= 1 && n.Int64() <= 65535 }
