package clientcmd

import (
	"debug/elf"
	"slices"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func TestPluginWarnings(t *testing.T) {
	other := elf.EM_S390
	plugin := func(machine elf.Machine, zeek string) site.Plugin {
		return site.Plugin{Path: "p", Name: "Demo::P", Libraries: []site.Library{{Path: "p/lib/p.so", Machine: machine, Zeek: zeek}}}
	}
	config := zeekapi.Configuration{Instances: []zeekapi.Instance{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}}
	status := func(versions ...string) (list []zeekapi.InstanceStatus) {
		for i, v := range versions {
			list = append(list, zeekapi.InstanceStatus{Instance: zeekapi.Instance{Name: string(rune('a' + i))}, Connected: true, Zeek: v})
		}
		return list
	}
	lost := status("8.2.2")
	lost[0].Connected = false
	for name, tt := range map[string]struct {
		plugin    site.Plugin
		instances []zeekapi.InstanceStatus
		want      []string
	}{
		"equal":                {plugin(thisMachine(), "8.0.9"), status("8.0.9", "8.0.9-debug"), nil},
		"unknown instances":    {plugin(thisMachine(), "8.0.9"), status("", ""), nil},
		"lost":                 {plugin(thisMachine(), "8.0.9"), lost, nil},
		"outside":              {plugin(thisMachine(), "8.0.9"), status("", "", "", "", "8.2.2"), nil},
		"unknown architecture": {plugin(elf.EM_NONE, "8.0.9"), status("8.0.9"), nil},
		"other versions": {plugin(elf.EM_NONE, "8.0.9"), status("8.0.9", "8.2.2", "9.0.0", "8.2.2"),
			[]string{"plugin Demo::P (p), built for Zeek 8.0.9 on an unknown architecture, but instances b, d run Zeek 8.2.2, and instance c runs Zeek 9.0.0"}},
		"other architecture": {plugin(other, "8.0.9"), status("8.0.9"),
			[]string{"plugin Demo::P (p), built for Zeek 8.0.9 on s390, but this machine is " + site.MachineName(thisMachine()) + "; the architectures of the instances are not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "other architecture" && thisMachine() == elf.EM_NONE {
				t.Skip("the architecture of this machine is not known")
			}
			if got := pluginWarnings(tt.plugin, config, tt.instances); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
