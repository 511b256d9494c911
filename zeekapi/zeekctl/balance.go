package zeekctl

import (
	"strconv"
	"strings"
)

// loadBalancing does to the workers what ZeekControl's plugins do, in their order. A
// plugin that reports an error ends, and ZeekControl continues.
func (p *nodeParser) loadBalancing() {
	for _, n := range p.nodes {
		if n.Type == Worker && n.text("lb_method") == "custom" {
			n.Interface = p.options.Text("lb_custom.interfaceprefix", "") + n.Interface + p.options.Text("lb_custom.interfacesuffix", "")
		}
	}
	for _, n := range p.nodes {
		if n.Type == Worker && n.text("lb_method") == "myricom" {
			setDefault(n.Env, "SNF_NUM_RINGS", n.text("lb_procs"))
			setDefault(n.Env, "SNF_FLAGS", "0x101")
		}
	}
	p.pfRing()
	for _, n := range p.nodes {
		if n.Type != Worker || n.text("lb_method") != "af_packet" {
			continue
		}
		if strings.HasPrefix(n.Interface, packetSource) {
			o := n.Keys["interface"]
			p.warn(o, "unexpected af_packet:: prefix for interface %s of %s", n.Interface, n.Name)
			return
		}
		n.Interface = packetSource + n.Interface
	}
}

const packetSource = "af_packet::"

// pfRingVariables are the variables for the values of PFRINGClusterType.
var pfRingVariables = map[string]string{
	"2-tuple": "FLOW_2_TUPLE", "4-tuple": "FLOW_4_TUPLE", "5-tuple": "FLOW_5_TUPLE", "tcp-5-tuple": "FLOW_TCP_5_TUPLE", "6-tuple": "FLOW",
	"inner-2-tuple": "INNER_FLOW_2_TUPLE", "inner-4-tuple": "INNER_FLOW_4_TUPLE", "inner-5-tuple": "INNER_FLOW_5_TUPLE",
	"inner-tcp-5-tuple": "INNER_FLOW_TCP_5_TUPLE", "inner-6-tuple": "INNER_FLOW",
}

// pfRing sets the environment of workers with PF_RING. Each interface of a host has a
// cluster of its own.
func (p *nodeParser) pfRing() {
	cluster := p.options.Int("pfringclusterid", 21)
	if cluster == 0 {
		return
	}
	policy := p.options.Text("pfringclustertype", "4-tuple")
	variable, ok := pfRingVariables[policy]
	if !ok {
		p.warn(p.options.Get("pfringclustertype"), "PFRINGClusterType \"%s\" not supported", policy)
		return
	}
	first := p.options.Int("pfringfirstappinstance", 0)
	instance := first
	clusters := map[string]map[string]int{} // by host and interface
	for _, n := range p.nodes {
		if n.Type != Worker || n.text("lb_method") != "pf_ring" {
			continue
		}
		device := n.Interface
		if clusters[n.Host] == nil {
			clusters[n.Host] = map[string]int{}
		}
		if _, ok := clusters[n.Host][device]; !ok {
			instance = first
			clusters[n.Host][device] = cluster + len(clusters[n.Host])
		}
		setDefault(n.Env, "PCAP_PF_RING_USE_CLUSTER_PER_"+variable, "1")
		if rss := rssVariable(device); rss != noRSS {
			if rss != "" {
				setDefault(n.Env, rss, "1")
			}
			n.Interface += "@" + strconv.Itoa(instance)
		} else {
			setDefault(n.Env, "PCAP_PF_RING_CLUSTER_ID", strconv.Itoa(clusters[n.Host][device]))
		}
		instance++
		setDefault(n.Env, "PCAP_PF_RING_APPNAME", "zeek-"+n.Interface)
	}
}

// noRSS means that an interface is not shared by its numbered parts.
const noRSS = "-"

// rssVariable returns the variable for interfaces that are shared by numbered parts,
// "" if there is none, and noRSS for other interfaces.
func rssVariable(device string) string {
	switch {
	case strings.HasPrefix(device, "zc:"), strings.HasPrefix(device, "pf_ring::zc:"):
		return "PCAP_PF_RING_ZC_RSS"
	case strings.HasPrefix(device, "dnacl"):
		return ""
	case strings.HasPrefix(device, "dna"):
		return "PCAP_PF_RING_DNA_RSS"
	}
	return noRSS
}
