package clientcmd

import (
	"context"
	"debug/elf"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// warnings returns the warnings about the site that need no controller.
func (s *fileSite) warnings() (warnings configparser.Errors) {
	if s == nil || s.packed == nil {
		return nil
	}
	plugins, err := site.Plugins(s.dir, s.limits)
	if err != nil {
		return configparser.Errors{{File: s.dir, Text: err.Error()}}
	}
	for _, p := range plugins {
		warnings.Add(&configparser.Error{File: s.dir, Text: p.String() + "; it does not run with other versions of Zeek or on other architectures"})
	}
	return warnings
}

// warnOfPlugins warns about compiled plugins of the site that do not run with the
// Zeek of an instance, as the agents have reported it.
func (r *run) warnOfPlugins(ctx context.Context, c *client.Client, config zeekapi.Configuration) {
	plugins, err := site.Plugins(r.site.dir, r.site.limits)
	if err != nil {
		r.warning("site %s: %v", r.site.dir, err)
	}
	if len(plugins) == 0 {
		return
	}
	status, err := r.requestStatus(ctx, c, true)
	if err != nil {
		r.warning("cannot compare the plugins of the site with the machines: %v", err)
	}
	for _, p := range plugins {
		for _, text := range pluginWarnings(p, config, status.Instances) {
			r.warning("%s", text)
		}
	}
}

// pluginWarnings returns the warnings about a plugin. The architecture of the
// instances is not known, so that of this machine stands for them.
func pluginWarnings(p site.Plugin, config zeekapi.Configuration, instances []zeekapi.InstanceStatus) []string {
	var versions, others []string
	on := make(map[string][]string) // instances by version
	for _, i := range instances {
		if _, ok := config.Instance(i.Instance.Name); ok && i.Connected && i.Zeek != "" && !builtForZeek(p, i.Zeek) {
			on[i.Zeek] = append(on[i.Zeek], i.Instance.Name)
			if !slices.Contains(versions, i.Zeek) {
				versions = append(versions, i.Zeek)
			}
		}
	}
	for _, v := range versions {
		verb := "instance %s runs"
		if len(on[v]) > 1 {
			verb = "instances %s run"
		}
		others = append(others, fmt.Sprintf(verb, someOf(on[v]))+" Zeek "+v)
	}
	var texts []string
	if len(others) > 0 {
		texts = append(texts, fmt.Sprintf("%s, but %s", p, strings.Join(others, ", and ")))
	}
	if here := thisMachine(); here != elf.EM_NONE && !slices.ContainsFunc(p.Libraries, func(l site.Library) bool { return l.Machine == here || l.Machine == elf.EM_NONE }) {
		texts = append(texts, fmt.Sprintf("%s, but this machine is %s; the architectures of the instances are not known", p, site.MachineName(here)))
	}
	return texts
}

// builtForZeek reports whether a plugin has a library for a version of Zeek.
func builtForZeek(p site.Plugin, version string) bool {
	version = strings.TrimSuffix(version, "-debug")
	return slices.ContainsFunc(p.Libraries, func(l site.Library) bool { return l.Zeek == version })
}

// thisMachine returns the architecture of this machine, elf.EM_NONE if it has none
// that is known.
func thisMachine() elf.Machine {
	switch runtime.GOARCH {
	case "amd64":
		return elf.EM_X86_64
	case "arm64":
		return elf.EM_AARCH64
	}
	return elf.EM_NONE
}
