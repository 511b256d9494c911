package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

// notCarried has the reasons for which options of ZeekControl are not carried over, by
// their names in lower case. All other options that ZeekControl knows are carried
// over.
var notCarried = func() map[string]string {
	all := map[string]string{}
	for reason, names := range map[string]string{
		"zeekwire has settings of its own for its log: log-level":                                                  "debug debuglog",
		"controller and agents distribute scripts by themselves":                                                   "havenfs policydirsiteinstall policydirsiteinstallauto tmpdir tmpexecdir",
		"an agent gives options of zeek to all its nodes; to do so, add -w trace.pcap to node-args of the machine": "savetraces",
		"agents end nodes by themselves: SIGTERM, and SIGKILL after 20 s":                                          "stoptimeout stopwait",
		"zeekwire has timeouts of its own: request-timeout-interval, --wait":                                       "commtimeout commandtimeout websockettimeout",
		"agents reach their nodes without it":                                                                      "controltopic usewebsocket websockethost websocketport websocketurl clustertopicseparator",
		"archived logs have the names of Zeek's archiver":                                                          "makearchivename",
		"alerts of the controller have no such option":                                                             "mailreplyto",
		"there are no summaries of connections":                                                                    "mailconnectionsummary tracesummary",
		"statistics are metrics of controller and agents, for Prometheus":                                          "statslogenable statslogexpireinterval statslog statsdir",
		"an agent keeps reports about the last ten crashes of each node":                                           "crashexpireinterval",
		"all archived logs expire alike":                                                                           "keeplogs",
		"commands show times in one format":                                                                        "timefmt",
		"peers shows the connections between nodes":                                                                "statuscmdshowall",
		"there is no cron job; alert-command of the controller runs at alerts":                                     "croncmd",
		"there are no nodes for Time Machine":                                                                      "timemachinehost timemachineport",
		"agents keep the files of their nodes in their state directory: state-dir":                                 "spooldir statefile lockfile zeekctlconfigdir",
		"there are no plugins of ZeekControl":                                                                      "sitepluginpath plugindir pluginzeekdir",
		"it belongs to the programs of ZeekControl, which are not used": `version standalone os time logexpireminutes scriptsdir postprocdir
			helperdir cfgdir staticdir libdir libdir64 libdirinternal capstatspath `,
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = reason
		}
	}
	return all
}()

// carriedPlugins are the options of ZeekControl's own plugins that are carried over.
var carriedPlugins = []string{"lb_custom.interfaceprefix", "lb_custom.interfacesuffix"}

// pluginReasons has the reasons for which options of ZeekControl's plugins are not
// carried over.
var pluginReasons = map[string]string{
	"zeek_port_warning.disable":                          "there is no such warning",
	"cluster_backend_zeromq.use_curve_encryption":        "agents do not encrypt ZeroMQ; to encrypt connections between nodes, use backend = broker and --tls",
	"cluster_backend_zeromq.curve_dir":                   "agents do not encrypt ZeroMQ; to encrypt connections between nodes, use backend = broker and --tls",
	"cluster_backend_zeromq.disable_unencrypted_warning": "there is no such warning",
}

// withoutEffect are values of options for which nothing needs to be carried over.
var withoutEffect = map[string][]string{
	"debug": {"0", "false"}, "havenfs": {"0", "false"}, "savetraces": {"0", "false"},
	"mailconnectionsummary": {"0", "false"}, "statslogenable": {"0", "false"},
	"statslogexpireinterval": {"0"}, "crashexpireinterval": {"0"}, "keeplogs": {""}, "statuscmdshowall": {"0", "false"}, "croncmd": {""},
	"timemachinehost": {""}, "tracesummary": {""}, "mailreplyto": {""}, "sitepluginpath": {""}, "stopwait": {"0", "false"},
}

func placeOf(o *zeekctl.Option) Place { return Place{o.File, o.Line, o.Column} }

// leaveOption adds an option that is not carried over.
func (c *control) leaveOption(o *zeekctl.Option, reason string) {
	c.leave(placeOf(o), o.Written, o.Value, reason)
}

// leaveOptions lists the options of zeekctl.cfg that are not carried over.
func (c *control) leaveOptions() {
	o := c.files.options
	for _, option := range o.All {
		reason := notCarried[option.Name]
		if strings.Contains(option.Name, ".") && !slices.Contains(carriedPlugins, option.Name) {
			if reason = pluginReasons[option.Name]; reason == "" {
				reason = "it is an option of a plugin of ZeekControl"
			}
		}
		if reason != "" && !slices.Contains(withoutEffect[option.Name], strings.ToLower(option.Value)) {
			c.leaveOption(option, reason)
		}
	}
	for name, read := range map[string]string{"nodecfg": c.files.nodesFile, "localnetscfg": c.files.networksFile} {
		if option := o.Get(name); option != nil && option.Value != read {
			c.leaveOption(option, fmt.Sprintf("%s was read instead; to import the other file, name it as well as the others", cmp.Or(read, "no file")))
		}
	}
	for _, option := range o.Unknown {
		c.leaveOption(option, "ZeekControl ignores it, too")
	}
	for _, option := range o.Replaced {
		c.leaveOption(option, "a later line of the file replaces it")
	}
	for _, w := range c.files.warnings {
		c.leave(Place{w.File, w.Line, w.Column}, w.Key, "", w.Text+"; ZeekControl reports the same, and continues without it")
	}
	if c.zeroMQ && len(c.Machines) > 1 && o.Get("cluster_backend_zeromq.use_curve_encryption") == nil {
		c.Notes = append(c.Notes, "ZeekControl encrypts ZeroMQ between several machines, and zeekwire's agents do not. To encrypt connections between nodes, use backend = broker, and --tls mutual if you have certificates.")
	}
}

// nodeReasons has the reasons for which keys of nodes are not carried over.
var nodeReasons = map[string]string{
	"zeekbase": "the setting zeek of the machine's agent names the program",
	"ether":    "ZeekControl ignores it, too",
	"count":    "ZeekControl ignores it, too",
	"zone_id":  "addresses in Zeek have no zones; use addresses that are not link-local",
}

// leaveKeys lists the keys of nodes that are not carried over.
func (c *control) leaveKeys() {
	seen := map[string]bool{}
	for _, n := range c.files.nodes {
		if seen[n.Section] {
			continue // the nodes of a section have the same keys
		}
		seen[n.Section] = true
		for key, reason := range nodeReasons {
			if o := n.Keys[key]; o != nil && o.Value != "" {
				c.leaveOption(o, reason)
			}
		}
		for _, o := range n.Unknown {
			c.leaveOption(o, "ZeekControl ignores it, too, unless it is a key of a plugin")
		}
	}
}
