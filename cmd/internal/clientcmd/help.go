package clientcmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

// examples are command lines, optionally followed by two blanks, # and a
// comment.
var examples = map[string][]string{
	"check-config": {"check-config cluster.cfg", "check-config --strict-exit cluster.cfg  # also fails on warnings"},
	"deploy":       {"deploy"},
	"deploy-config": {
		"deploy-config cluster.cfg",
		"deploy-config --controller 10.0.0.1:2149 - < cluster.cfg",
	},
	"get-config": {
		"get-config > cluster.cfg",
		"get-config --deployed --as-json --filename deployed.json",
	},
	"get-id-value": {
		"get-id-value peer_description worker-1 worker-2",
		"get-id-value Log::default_rotation_interval  # on all nodes",
	},
	"get-instances": {"get-instances --controller 10.0.0.1", "get-instances --set ssl.enable=yes --set ssl.cafile=ca.pem"},
	"get-nodes":     {"get-nodes"},
	"monitor":       {"monitor"},
	"restart":       {"restart worker-1 worker-2", "restart --strict-exit  # all nodes; fails if one fails"},
	"show-settings": {"show-settings --configfile zeek-client.cfg"},
	"stage-config":  {"stage-config cluster.cfg"},
	"test-timeout":  {"test-timeout --with-state"},

	"alerts":          {"alerts", "alerts test"},
	"test":            {"alerts test"},
	"check":           {"check cluster.cfg", "check  # staged configuration"},
	"diff":            {"diff cluster.cfg", "diff --strict-exit  # staged configuration; exit code 3 if it differs"},
	"df":              {"df", "df sensor-01 sensor-02"},
	"cleanup":         {"cleanup --dry-run", "cleanup instance-01"},
	"diag":            {"diag worker-1", "diag worker-1 --bundle worker-1.tar.gz"},
	"drain":           {"drain instance-01"},
	"history":         {"history --limit 10"},
	"logs":            {"logs worker-1 --lines 100", "logs worker-1 --follow", "logs --group east"},
	"events":          {"events --limit 20"},
	"netstats":        {"netstats", "netstats --interval 10s worker-1 worker-2", "netstats --strict-exit --threshold 5 > /dev/null || echo drops"},
	"peers":           {"peers"},
	"process":         {"process trace.pcap", "process trace.pcap --node worker-1 --output logs -- -C"},
	"rollback":        {"rollback  # to the last configuration that differs", "rollback 7"},
	"rolling-restart": {"rolling-restart --role worker --at-once 2", "rolling-restart --cancel"},
	"scripts":         {"scripts worker-1", "scripts --all --json worker-1"},
	"show-config":     {"show-config cluster.cfg", "show-config --json cluster.cfg"},
	"start":           {"start worker-1", "start --all"},
	"step-down":       {"step-down"},
	"stop":            {"stop worker-1 worker-2", "stop --all"},
	"status":          {"status", "status --strict-exit > /dev/null || echo something is wrong"},
	"teardown":        {"teardown", "teardown --yes"},
	"top":             {"top", "top --sort drops", "top --json > figures.json"},
	"undrain":         {"undrain instance-01"},
	"watch":           {"watch", "watch --json >> events.json"},
}

// document sets the examples of a command, and a usage text that lists its own
// flags before those that all commands share.
func (t *Tool) document(cmd *cobra.Command) {
	program := "zeek-client"
	if t.Extended {
		program = "zeekwire"
	}
	var lines []string
	for _, line := range examples[cmd.Name()] {
		lines = append(lines, "  "+program+" "+line)
	}
	cmd.Example = strings.Join(lines, "\n")
	cmd.SetUsageFunc(usage.Show)
}
