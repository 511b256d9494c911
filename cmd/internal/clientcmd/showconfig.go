package clientcmd

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

func (t *Tool) showConfig() *cobra.Command {
	cmd := t.command("show-config FILE", "Show a cluster configuration in expanded form",
		func(ctx context.Context, r *run, args []string) error {
			_, config, err := r.parseConfig(ctx, args[0])
			if err != nil {
				return err
			}
			text, err := r.render(config, t.flags.json, "--json")
			if err != nil {
				return err
			}
			_, err = r.stdout.Write(text)
			return err
		})
	cmd.Long = cmd.Short + `, without a controller.

The output is a cluster file with a section for each node: sections with
workers, patterns of instances, variables, groups and the section [cluster] are
expanded. With --json, it is JSON as printed by "get-config --as-json". A site
is shown by its ID.` + fileHelp
	t.addSiteFlag(cmd)
	return cmd
}

// parseConfig reads a cluster file, and reports the errors and warnings about its content
// to the user. With an error, it returns the file if the content is invalid.
func (r *run) parseConfig(ctx context.Context, name string) (*configFile, zeekapi.Configuration, error) {
	file, err := r.openConfig(ctx, name)
	if err != nil {
		return nil, zeekapi.Configuration{}, err
	}
	if r.tool.Extended {
		if err := clusterfile.Foreign(file.name, file.text); err != nil {
			return nil, zeekapi.Configuration{}, err
		}
	}
	config, warnings, err := file.parse()
	for _, w := range warnings {
		r.warning("%v", w)
	}
	if err != nil {
		return file, zeekapi.Configuration{}, r.fail("%v", err)
	}
	return file, config, nil
}
