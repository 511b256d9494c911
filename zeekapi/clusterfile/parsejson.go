package clusterfile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// ParseJSON reads the format of JSON, which "zeekwire get-config --as-json"
// prints. Unlike an INI file, JSON contains the ID of the configuration, so
// that agents recognize a configuration that they already run. If the ID is
// missing, ParseJSON generates one. The member "site" is the ID of a site, never a
// directory: the JSON of a configuration means the same everywhere.
//
// An error about the content is of type configparser.Errors. It contains all
// errors of the file, or only the first one if the text is not valid JSON.
func ParseJSON(name string, r io.Reader, o Options) (zeekapi.Configuration, error) {
	text, err := configparser.ReadAll(name, r, configparser.MaxSize)
	if err != nil {
		return zeekapi.Configuration{}, err
	}
	p := newJSONParser(name, text, o)
	if p.valid() {
		p.configuration()
	}
	if len(p.errs) > 0 {
		return zeekapi.Configuration{}, p.errs
	}
	p.config.ID = cmp.Or(p.config.ID, uuid.NewString())
	return p.config, nil
}

// jsonParser reads a text token by token, and tracks the line of each token.
type jsonParser struct {
	builder

	text    []byte
	tokens  *json.Decoder
	token   json.Token // the next token; nil for null
	line    int        // of the next token
	counted int64      // number of bytes whose lines have been counted
}

func newJSONParser(name string, text []byte, o Options) *jsonParser {
	p := &jsonParser{
		builder: builder{file: &configparser.File{Name: name}, resolve: o.Resolve, places: newPlaces()},
		text:    text, tokens: json.NewDecoder(bytes.NewReader(text)), line: 1,
	}
	p.tokens.UseNumber()
	return p
}

// valid reports whether the text is a single JSON value, and otherwise reports
// an error. If the text is valid, reading tokens cannot fail.
func (p *jsonParser) valid() bool {
	at := func(offset int64) int {
		return 1 + bytes.Count(p.text[:min(int64(len(p.text)), offset)], []byte("\n"))
	}
	d := json.NewDecoder(bytes.NewReader(p.text))
	err := d.Decode(&json.RawMessage{})
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		p.fail(at(syntax.Offset), "", "", "%v", syntax)
	case err != nil:
		p.fail(at(int64(len(p.text))), "", "", "unexpected end of file")
	case d.More():
		rest := bytes.TrimLeft(p.text[d.InputOffset():], " \t\r\n")
		p.fail(at(int64(len(p.text)-len(rest))), "", "", "unexpected text after the configuration")
	}
	return len(p.errs) == 0
}

func (p *jsonParser) advance() {
	p.token, _ = p.tokens.Token()
	end := p.tokens.InputOffset() // tokens do not span lines
	p.line += bytes.Count(p.text[p.counted:end], []byte("\n"))
	p.counted = end
}

// skip skips a value.
func (p *jsonParser) skip() {
	depth := 0
	for {
		switch p.token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		p.advance()
		if depth == 0 {
			return
		}
	}
}

// unfit reports that the next value does not have the type want, and skips it.
func (p *jsonParser) unfit(path, key, want string) {
	found := "null"
	switch t := p.token.(type) {
	case string:
		found = fmt.Sprintf("%.100q", t)
	case json.Number:
		found = t.String()
	case bool:
		found = fmt.Sprint(t)
	case json.Delim:
		if found = "an array"; t == '{' {
			found = "an object"
		}
	}
	p.fail(p.line, "", key, "%s is %s, want %s", path, found, want)
	p.skip()
}

// object reads an object. It calls member with each key. The function must
// read the value, or return false for an unknown key, which is an error
// because it is probably misspelled. The result of object reports whether the
// next value is an object.
func (p *jsonParser) object(path, key string, member func(key string) bool) bool {
	if p.token != json.Delim('{') {
		p.unfit(path, key, "an object")
		return false
	}
	p.advance()
	first := map[string]int{}
	for p.token != json.Delim('}') {
		key, line := p.token.(string), p.line
		p.advance()
		if before, again := first[key]; again {
			p.fail(line, "", key, "%.100q of %s occurs twice, first in line %d", key, path, before)
			p.skip()
			continue
		}
		first[key] = line
		if !member(key) {
			p.fail(line, "", key, "%s has no %.100q", path, key)
			p.skip()
		}
	}
	p.advance()
	return true
}

// array reads an array; null is an empty one. It calls element for each
// element, which the function must read.
func (p *jsonParser) array(path, key string, element func(path string)) {
	switch p.token {
	case nil:
		p.advance()
		return
	case json.Delim('['):
	default:
		p.unfit(path, key, "an array")
		return
	}
	p.advance()
	for i := 0; p.token != json.Delim(']'); i++ {
		element(fmt.Sprintf("%s[%d]", path, i))
	}
	p.advance()
}

// string reads a string; null is an empty one.
func (p *jsonParser) string(path, key string) string {
	s, ok := p.token.(string)
	if !ok && p.token != nil {
		p.unfit(path, key, "a string")
		return ""
	}
	p.advance()
	return s
}

// integer reads an integer, or nil for null. The caller must check its range.
func (p *jsonParser) integer(path, key string) *big.Int {
	number, ok := p.token.(json.Number)
	if !ok && p.token != nil {
		p.unfit(path, key, "an integer")
		return nil
	}
	var n *big.Int
	if ok {
		if n, ok = configparser.ParseInt(number.String()); !ok {
			p.unfit(path, key, "an integer")
			return nil
		}
	}
	p.advance()
	return n
}

func (p *jsonParser) configuration() {
	p.advance()
	p.object("the configuration", "", func(key string) bool {
		switch key {
		case "id":
			p.config.ID = p.string(key, key)
		case "instances":
			p.array(key, key, p.instance)
		case "nodes":
			p.array(key, key, p.nodeObject)
		case "site":
			line := p.line
			if p.config.Site = p.string(key, key); p.config.Site != "" && !zeekapi.ValidSite(p.config.Site) {
				p.fail(line, "", key, "site %.100q is not the ID of a site, 64 hexadecimal digits in lower case", p.config.Site)
			}
		default:
			return false
		}
		return true
	})
}

func (p *jsonParser) instance(path string) {
	at := map[string]int{"": p.line}
	before := len(p.errs)
	var name, host string
	var port *big.Int
	if !p.object(path, "", func(key string) bool {
		at[key] = p.line
		switch key {
		case "name":
			name = p.string(path+".name", key)
		case "host":
			host = p.string(path+".host", key)
		case "port":
			port = p.integer(path+".port", key)
		default:
			return false
		}
		return true
	}) {
		return
	}
	fit := len(p.errs) == before
	for _, e := range p.errs[before:] {
		e.Section, e.Key = instancesSection, name // as in an INI file
	}
	reject := func(key, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		p.fail(cmp.Or(at[key], at[""]), instancesSection, name, "invalid spec for instance %s: %s", quote(name), text)
	}
	out := zeekapi.Instance{Name: name, Host: netip.IPv4Unspecified()}
	switch {
	case name == "":
		if fit {
			p.fail(at[""], instancesSection, "", "%s has no name", path)
		}
		return
	case port != nil && !isPort(port):
		reject("port", "port \"%d\" is not a number in 1..65535", port)
	case port != nil && host == "" && at["host"] == 0:
		reject("port", "a port requires a host")
	}
	if host != "" {
		addr, wrong := p.host(host)
		if wrong != "" {
			reject("host", "host %s %s", quote(host), wrong)
		}
		out.Host = addr
	}
	if port != nil {
		out.Port = broker.TCP(uint16(port.Uint64()))
	}
	p.places.add(instancesSection, name, cmp.Or(at["name"], at[""]))
	p.config.Instances = append(p.config.Instances, out)
}

// nodeFields holds the members of a node's object before they are checked.
type nodeFields struct {
	node                   zeekapi.Node
	role                   string
	port, metricsPort, cpu *big.Int
	at                     map[string]int // line of each member; key "" is the object
}

func (p *jsonParser) nodeObject(path string) {
	before := len(p.errs)
	f, ok := p.nodeFields(path)
	if !ok {
		return
	}
	for _, e := range p.errs[before:] {
		e.Section = f.node.Name
	}
	p.checkNode(path, f)
	for key, line := range f.at {
		p.places.add(f.node.Name, key, line)
	}
	p.config.Nodes = append(p.config.Nodes, f.node)
}

func (p *jsonParser) nodeFields(path string) (*nodeFields, bool) {
	f := &nodeFields{node: zeekapi.Node{State: zeekapi.StateRunning}, at: map[string]int{"": p.line}}
	out := &f.node
	ok := p.object(path, "", func(key string) bool {
		f.at[key] = p.line
		path := path + "." + key
		switch key {
		case "name":
			out.Name = p.string(path, key)
		case "instance":
			out.Instance = p.string(path, key)
		case "role":
			f.role = p.string(path, key)
		case "port":
			f.port = p.integer(path, key)
		case "metrics_port":
			f.metricsPort = p.integer(path, key)
		case "cpu_affinity":
			f.cpu = p.integer(path, key)
		case "interface":
			out.Interface = p.string(path, key)
		case "scripts":
			p.array(path, key, func(path string) { out.Scripts = append(out.Scripts, p.string(path, key)) })
		case "options":
			p.array(path, key, func(path string) { out.Options = append(out.Options, p.option(path, key)) })
		case "env":
			out.Env = p.env(path, key)
		default:
			return false
		}
		return true
	})
	return f, ok
}

// checkNode reports all errors in the members of a node, and completes the
// node with the valid members.
func (p *jsonParser) checkNode(path string, f *nodeFields) {
	out, label := &f.node, path
	if out.Name != "" {
		label = quote(out.Name)
	}
	// fail ignores a consequence of an earlier error in the same line.
	reject := func(key, format string, args ...any) {
		p.fail(cmp.Or(f.at[key], f.at[""]), out.Name, key, "invalid node %s configuration: %s", label, fmt.Sprintf(format, args...))
	}
	if out.Name == "" {
		reject("name", "node requires a name")
	}
	if out.Instance == "" {
		reject("instance", "node requires an instance")
	}
	var known bool
	switch out.Role, known = roleOf(f.role); {
	case f.role == "":
		reject("role", "node requires a role")
	case !known:
		reject("role", "role %s is invalid", quote(f.role))
	}
	number := func(key, field string, n *big.Int) (port broker.Port) {
		switch {
		case n == nil:
		case !isPort(n):
			reject(key, "%s %d outside valid range", field, n)
		default:
			port = broker.TCP(uint16(n.Uint64()))
		}
		return port
	}
	out.Port, out.MetricsPort = number("port", "port", f.port), number("metrics_port", "metrics port", f.metricsPort)
	if f.cpu != nil {
		if n := f.cpu.Int64(); f.cpu.IsInt64() {
			out.CPUAffinity = &n
		} else {
			reject("cpu_affinity", "cpu_affinity %d outside valid range", f.cpu)
		}
	}
}

func (p *jsonParser) option(path, key string) (out zeekapi.Option) {
	p.object(path, key, func(member string) bool {
		switch member {
		case "name":
			out.Name = p.string(path+".name", key)
		case "value":
			out.Value = p.string(path+".value", key)
		default:
			return false
		}
		return true
	})
	return out
}

// env reads an object of strings; null is an empty one.
func (p *jsonParser) env(path, key string) map[string]string {
	if p.token == nil {
		p.advance()
		return nil
	}
	var env map[string]string
	p.object(path, key, func(name string) bool {
		value := p.string(path+"."+name, key)
		if env == nil {
			env = map[string]string{}
		}
		env[name] = value
		return true
	})
	return env
}
