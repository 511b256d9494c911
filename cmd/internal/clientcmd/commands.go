package clientcmd

import (
	"slices"

	"github.com/spf13/cobra"
)

// constructor makes a command. Its name is beside it, so that a start makes only the command
// that runs.
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

// constructors returns those of all commands of the tool.
func (t *Tool) constructors() []constructor {
	if t.Extended {
		return slices.Concat(commands, operationCommands)
	}
	return commands
}

// construct makes a command with its completion.
func (t *Tool) construct(c constructor) *cobra.Command {
	cmd := c.make(t)
	t.addCompletion(cmd)
	return cmd
}

// Commands returns the client commands, each with the shared flags.
func (t *Tool) Commands() []*cobra.Command {
	var made []*cobra.Command
	for _, c := range t.constructors() {
		made = append(made, t.construct(c))
	}
	return made
}

// Command returns the client command with a name, like Commands but without making the others.
// It returns nil if there is none.
func (t *Tool) Command(name string) *cobra.Command {
	for _, c := range t.constructors() {
		if c.name == name {
			return t.construct(c)
		}
	}
	return nil
}
