package clusterfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// The JSON form of a configuration, with the members that zeek-client gives it.
type (
	jsonConfiguration struct {
		ID        string         `json:"id"`
		Instances []jsonInstance `json:"instances"`
		Nodes     []jsonNode     `json:"nodes"`
	}
	jsonInstance struct {
		Name string  `json:"name"`
		Host string  `json:"host,omitempty"`
		Port *uint16 `json:"port,omitempty"`
	}
	jsonOption struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	jsonNode struct {
		Name        string            `json:"name"`
		Instance    string            `json:"instance"`
		Role        string            `json:"role"`
		Port        *uint16           `json:"port"`
		Scripts     []string          `json:"scripts"`
		Options     []jsonOption      `json:"options"`
		Interface   *string           `json:"interface"`
		CPUAffinity *int64            `json:"cpu_affinity"`
		Env         map[string]string `json:"env"`
		MetricsPort *uint16           `json:"metrics_port"`
	}
)

// JSON returns the configuration as compact JSON with the members that
// zeek-client gives it.
func JSON(c zeekapi.Configuration) ([]byte, error) {
	out := jsonConfiguration{c.ID, []jsonInstance{}, []jsonNode{}}
	for _, i := range sortedInstances(c) {
		shown := jsonInstance{Name: i.Name, Port: orNull(i.Port.Number)}
		if !i.Connects() || i.Host.IsValid() && i.Host.String() != "0.0.0.0" {
			shown.Host = i.Host.String()
		}
		out.Instances = append(out.Instances, shown)
	}
	for _, n := range sortedNodes(c) {
		shown := jsonNode{
			Name: n.Name, Instance: n.Instance, Role: string(n.Role),
			Port: orNull(n.Port.Number), Scripts: n.Scripts, Interface: orNull(n.Interface),
			CPUAffinity: n.CPUAffinity, Env: n.Env, MetricsPort: orNull(n.MetricsPort.Number),
		}
		for _, o := range n.Options {
			shown.Options = append(shown.Options, jsonOption(o))
		}
		if shown.Env == nil {
			shown.Env = map[string]string{}
		}
		out.Nodes = append(out.Nodes, shown)
	}
	return json.Marshal(out)
}

// IsJSON reports whether the text of a file is JSON rather than INI.
func IsJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }

// ParseJSON reads what JSON writes, and "zeekwire get-config --as-json" prints.
// Unlike an INI file, JSON keeps the configuration's ID, by which agents see
// that they run it already. Without an ID it gets a new one.
//
// An error about the content is of type configparser.Errors.
func ParseJSON(name string, r io.Reader) (zeekapi.Configuration, error) {
	text, err := io.ReadAll(io.LimitReader(r, configparser.MaxSize+1))
	if err != nil {
		return zeekapi.Configuration{}, err
	}
	p := jsonParser{name: name}
	if len(text) > configparser.MaxSize {
		p.fail(0, "", "", "file is larger than %d bytes", configparser.MaxSize)
		return zeekapi.Configuration{}, p.errs
	}
	in := p.decode(text)
	c := zeekapi.Configuration{ID: in.ID}
	if c.ID == "" {
		c.ID = uuid.NewString()
	}
	for i, instance := range in.Instances {
		c.Instances = append(c.Instances, p.instance(i, instance))
	}
	for i, node := range in.Nodes {
		c.Nodes = append(c.Nodes, p.node(i, node))
	}
	if len(p.errs) > 0 {
		return zeekapi.Configuration{}, p.errs
	}
	return c, nil
}

type jsonParser struct {
	name string
	errs configparser.Errors
}

func (p *jsonParser) fail(line int, section, key, format string, args ...any) {
	p.errs.Add(&configparser.Error{File: p.name, Line: line, Section: section, Key: key, Text: fmt.Sprintf(format, args...)})
}

// decode reads the members. Those that no configuration has are errors, as
// they are likely to be misspelt.
func (p *jsonParser) decode(text []byte) (in jsonConfiguration) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&in)
	line := func(offset int64) int {
		return 1 + bytes.Count(text[:min(int64(len(text)), offset)], []byte("\n"))
	}
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil && d.More():
		p.fail(line(d.InputOffset()+1), "", "", "more text after the configuration")
	case err == nil:
		return in
	case errors.As(err, &syntax):
		p.fail(line(syntax.Offset), "", "", "%v", syntax)
	case errors.As(err, &mismatch):
		p.fail(line(mismatch.Offset), "", mismatch.Field, "%s is %s, which does not fit", mismatch.Field, mismatch.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		p.fail(line(int64(len(text))), "", "", "the file ends too early")
	default:
		p.fail(line(d.InputOffset()), "", "", "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return jsonConfiguration{}
}

func (p *jsonParser) instance(i int, in jsonInstance) zeekapi.Instance {
	out := zeekapi.Instance{Name: in.Name, Host: netip.IPv4Unspecified()}
	if in.Name == "" {
		p.fail(0, instancesSection, "name", "instance %d has no name", i+1)
	}
	if in.Host != "" {
		host, err := netip.ParseAddr(in.Host)
		if err != nil || host.Zone() != "" {
			p.fail(0, instancesSection, in.Name, "invalid spec for instance %s: host %s is not an address", quote(in.Name), quote(in.Host))
		}
		out.Host = host.Unmap()
	}
	if in.Port != nil {
		if *in.Port == 0 || in.Host == "" {
			p.fail(0, instancesSection, in.Name, "invalid spec for instance %s: a port needs a host, and is in 1..65535", quote(in.Name))
		}
		out.Port = broker.TCP(*in.Port)
	}
	return out
}

func (p *jsonParser) node(i int, in jsonNode) zeekapi.Node {
	out := zeekapi.Node{
		Name: in.Name, Instance: in.Instance, State: zeekapi.StateRunning,
		Role:    zeekapi.ClusterRole(strings.ToUpper(in.Role)),
		Scripts: in.Scripts, CPUAffinity: in.CPUAffinity,
	}
	if in.Name == "" {
		p.fail(0, "", "name", "node %d has no name", i+1)
	}
	if in.Instance == "" {
		p.fail(0, in.Name, "instance", "node %s has no instance", quote(in.Name))
	}
	if !out.Role.Valid() || out.Role == zeekapi.RoleNone {
		p.fail(0, in.Name, "role", "invalid role %s for node %s", quote(in.Role), quote(in.Name))
	}
	port := func(key string, number *uint16) (port broker.Port) {
		switch {
		case number == nil:
		case *number == 0:
			p.fail(0, in.Name, key, "%s of node %s is not in 1..65535", key, quote(in.Name))
		default:
			port = broker.TCP(*number)
		}
		return port
	}
	out.Port, out.MetricsPort = port("port", in.Port), port("metrics_port", in.MetricsPort)
	if in.Interface != nil {
		out.Interface = *in.Interface
	}
	if len(in.Env) > 0 {
		out.Env = in.Env
	}
	for _, o := range in.Options {
		out.Options = append(out.Options, zeekapi.Option(o))
	}
	return out
}
