package clientcmd

import (
	"slices"

	"github.com/spf13/cobra"
)

// constructor makes a command. It has the name apart, because scripts start client commands
// often, and should not wait until all others are made.
type constructor struct {
	name string
	make func(*Tool) *cobra.Command
}

// commands are the commands of zeek-client.
var commands = []constructor{
	{"check-config", (*Tool).checkConfig},
	{"deploy", (*Tool).deploy},
	{"deploy-config", (*Tool).deployConfig},
	{"get-config", (*Tool).getConfig},
	{"get-id-value", (*Tool).getIDValue},
	{"get-instances", (*Tool).getInstances},
	{"get-nodes", (*Tool).getNodes},
	{"monitor", (*Tool).monitor},
	{"restart", (*Tool).restart},
	{"show-settings", (*Tool).showSettings},
	{"stage-config", (*Tool).stageConfig},
	{"test-timeout", (*Tool).testTimeout},
}

// operationCommands are the commands that zeek-client does not have.
var operationCommands = []constructor{
	{"check", (*Tool).check},
	{"show-config", (*Tool).showConfig},
	{"status", (*Tool).status},
	{"watch", (*Tool).watch},
	{"diff", (*Tool).diff},
	{"history", (*Tool).history},
	{"rollback", (*Tool).rollback},
	{"rolling-restart", (*Tool).rollingRestart},
	{"stop", (*Tool).stop},
	{"start", (*Tool).start},
	{"drain", (*Tool).drain},
	{"undrain", (*Tool).undrain},
	{"step-down", (*Tool).stepDown},
	{"teardown", (*Tool).teardown},
	{"process", (*Tool).process},
	{"diag", (*Tool).diag},
	{"cleanup", (*Tool).cleanup},
	{"logs", (*Tool).logs},
	{"events", (*Tool).events},
	{"alerts", (*Tool).alerts},
	{"top", (*Tool).top},
	{"netstats", (*Tool).netstats},
	{"peers", (*Tool).peers},
	{"df", (*Tool).df},
	{"scripts", (*Tool).scripts},
}

// Commands returns the client commands with the given names, all of them without a name. It
// ignores other names. Each command has the shared flags.
func (t *Tool) Commands(names ...string) []*cobra.Command {
	constructors := commands
	if t.Extended {
		constructors = slices.Concat(commands, operationCommands)
	}
	var made []*cobra.Command
	for _, c := range constructors {
		if len(names) == 0 || slices.Contains(names, c.name) {
			made = append(made, c.make(t))
		}
	}
	t.addCompletion(made)
	return made
}
