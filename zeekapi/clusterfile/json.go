package clusterfile

import (
	"bytes"
	"encoding/json"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// The JSON form of a configuration, with zeek-client's member names.
type (
	jsonConfiguration struct {
		ID        string         `json:"id"`
		Instances []jsonInstance `json:"instances"`
		Nodes     []jsonNode     `json:"nodes"`
		Site      string         `json:"site,omitempty"`
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

// JSON returns the configuration as compact JSON, with zeek-client's member
// names, and the ID of the site as "site" if there is one.
func JSON(c zeekapi.Configuration) ([]byte, error) {
	out := jsonConfiguration{c.ID, []jsonInstance{}, []jsonNode{}, c.Site}
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

// IsJSON reports whether the text of a file is JSON instead of INI.
func IsJSON(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) }
