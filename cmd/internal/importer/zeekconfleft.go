package importer

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/zeekconf"
)

// The reasons for which options of zeek.conf are not carried over.
const (
	ignoredByZeek  = "Zeek's generator ignores it, too"
	noNice         = "nodes run with the priority of their agent; set Nice= of zeekwire-agent.service"
	noNuma         = "nodes have no memory policy; set NUMAPolicy= of zeekwire-agent.service"
	noUser         = "nodes run as the user of their agent; set User= and Group= of zeekwire-agent.service"
	noRestartDelay = "the agent restarts a node at once, and later if it fails again"
	noLayout       = "the controller makes the layout of the cluster from the nodes"
	noArchiver     = "the agent archives logs itself, as one of its own tasks"
	noArchiverArgs = "the agent archives logs itself, and has no such option"
	noOwnArchiver  = "an archiver that runs all the time needs a service of its own; archive-logs is off"
	noMetrics      = "the controller assigns ports for metrics to the nodes of all machines, or to none"
	noInstallation = "it depends on the installation, which the file does not name; import with --zeek-dir DIR"
)

// leave lists what the machine's file has and is not carried over.
func (h *host) leave() {
	c := h.config
	for _, o := range c.Unknown {
		h.leaveOption(o, ignoredByZeek)
	}
	if len(h.kinds()) == 0 {
		return
	}
	for _, p := range h.kinds() {
		h.leaveOption(p.Nice, noNice)
		if o := p.NumaPolicy; o != nil && o.Value() != "default" {
			h.leaveOption(o, noNuma)
		}
		h.variables(p)
	}
	h.leaveOption(c.Other["user"], noUser)
	h.leaveOption(c.Other["group"], noUser)
	h.leaveOption(c.Other["restart_interval_sec"], noRestartDelay)
	h.leaveOption(c.Other["cluster_layout"], noLayout)
	if c.MetricsPort == 0 && !h.plan.metricsOff {
		h.leaveOption(c.Other["metrics_port"], noMetrics)
	}
	for _, key := range []string{"path", "ext_path", "ext_zeek_path"} {
		if o := c.Other[key]; o != nil && o.Value() != "" && h.base == "" {
			h.leaveOption(o, noInstallation)
		}
	}
}

// kinds returns the options of the kinds of nodes.
func (h *host) kinds() []zeekconf.Process {
	c := h.config
	kinds := []zeekconf.Process{c.Common, c.ManagerProcess, c.LoggerProcess, c.ProxyProcess}
	for _, i := range c.Interfaces {
		kinds = append(kinds, i.Process)
	}
	return kinds
}

// variables lists the variables that are not carried over.
func (h *host) variables(p zeekconf.Process) {
	for _, v := range p.Variables {
		if _, err := systemdVariable(v.Name, v.Value); err != nil {
			h.plan.leave(h.place(p.Env), p.Env.Written, v.Name+"="+v.Value, err.Error())
		}
	}
}

// archive carries over the options of the archiver.
func (h *host) archive() {
	c := h.config
	archiver := c.ArchiverProcess
	h.leaveOption(archiver.Env, noArchiver)
	h.leaveOption(archiver.CPUSet, noArchiver)
	h.leaveOption(archiver.Nice, noArchiver)
	h.leaveOption(archiver.MemoryMax, noArchiver)
	if !c.Archives || c.ArchiverCommand != "" {
		if c.Manager || c.Loggers > 0 {
			h.machine.set("archive-logs", "false", "archiver in "+filepath.Base(c.File))
		}
		if c.ArchiverCommand != "" {
			h.leaveOption(c.Other["archiver"], noOwnArchiver)
		}
		h.leaveOption(archiver.Args, noOwnArchiver)
		return
	}
	if h.base != "" {
		archive := filepath.Join(h.base, "var", "logs", "zeek")
		h.machine.Writable = append(h.machine.Writable, archive)
		h.machine.set("archive-dir", archive, "where Zeek's archiver has put the logs")
	}
	h.archiverArgs(archiver.Args)
}

// archiverArgs carries over the arguments of Zeek's archiver.
func (h *host) archiverArgs(o *zeekconf.Option) {
	if o == nil {
		return
	}
	words := strings.Fields(o.Joined())
	for i := 0; i < len(words); i++ {
		if words[i] == "-i" && i+1 < len(words) {
			if seconds, err := strconv.ParseUint(words[i+1], 10, 16); err == nil && seconds > 0 {
				h.machine.set("archive-interval", words[i+1]+"s", o.Written)
				i++
				continue
			}
		}
		h.plan.leave(h.place(o), o.Written, words[i], noArchiverArgs)
	}
}
