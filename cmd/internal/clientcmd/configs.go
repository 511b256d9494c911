package clientcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

const fileHelp = "\n\nFILE is an INI file, or JSON as printed by \"get-config --as-json\", which keeps\nthe ID of the configuration; - is standard input."

func (t *Tool) stageConfig() *cobra.Command {
	cmd := t.command("stage-config FILE", "Upload a cluster configuration for later deployment",
		func(ctx context.Context, r *run, args []string) error {
			config, err := r.readConfig(ctx, args[0])
			if err != nil {
				return err
			}
			c, err := r.connect(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			staged, err := r.stage(ctx, c, config)
			if err != nil {
				return err
			}
			if err := r.showStaged(staged); err != nil {
				return err
			}
			return failIf(len(staged.Errors) > 0)
		})
	cmd.Long = cmd.Short + "." + fileHelp
	return cmd
}

func (t *Tool) deployConfig() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy-config FILE", "Upload a cluster configuration and deploy it",
		func(ctx context.Context, r *run, args []string) error {
			config, err := r.readConfig(ctx, args[0])
			if err != nil {
				return err
			}
			c, err := r.connectToDeploy(ctx, o)
			if err != nil {
				return err
			}
			defer c.Close()
			if o.dryRun {
				return r.dryRun(ctx, c, config)
			}
			if !c.Has(zeekapi.StageConfigurationRequest{}) {
				// One request does both.
				return r.deployWith(ctx, c, "Deploying", noNode, config.Nodes, func(ctx context.Context, c *client.Client) (client.DeployResult, error) {
					return c.SetConfiguration(ctx, config)
				})
			}
			staged, err := r.stage(ctx, c, config)
			if err != nil {
				return err
			}
			if len(staged.Errors) > 0 {
				if err := r.showStaged(staged); err != nil {
					return err
				}
				return &ExitError{Code: 1}
			}
			return r.deployStaged(ctx, c, o)
		})
	cmd.Long = cmd.Short + "." + fileHelp
	t.addDeployFlags(cmd, &o)
	return cmd
}

func (t *Tool) deploy() *cobra.Command {
	var o deployOptions
	cmd := t.command("deploy", "Deploy the staged cluster configuration",
		func(ctx context.Context, r *run, _ []string) error {
			c, err := r.connectToDeploy(ctx, o)
			if err != nil {
				return err
			}
			defer c.Close()
			if o.dryRun {
				return r.dryRunStaged(ctx, c)
			}
			return r.deployStaged(ctx, c, o)
		})
	t.addDeployFlags(cmd, &o)
	return cmd
}

func (t *Tool) getConfig() *cobra.Command {
	var file string
	var asJSON, deployed, staged bool
	var number uint64
	cmd := t.command("get-config", "Retrieve the staged or the deployed cluster configuration",
		func(ctx context.Context, r *run, _ []string) error {
			var config zeekapi.Configuration
			var err error
			if number > 0 {
				config, err = r.pastConfiguration(ctx, number)
			} else {
				config, err = ask(ctx, r, getConfiguration(deployed))
			}
			if err != nil {
				return plain(err, "configuration")
			}
			text, err := r.render(config, asJSON)
			if err != nil {
				return err
			}
			if file != "" && file != "-" {
				return os.WriteFile(file, text, 0o666)
			}
			_, err = r.stdout.Write(text)
			return err
		})
	cmd.Flags().StringVarP(&file, "filename", "f", "-", "output `FILE`; - is standard output")
	cmd.Flags().BoolVar(&asJSON, "as-json", false, "JSON output instead of INI")
	cmd.Flags().BoolVar(&deployed, "deployed", false, "the deployed configuration, with ports and addresses filled in")
	cmd.Flags().BoolVar(&staged, "staged", false, "the staged configuration (default)")
	usage.Exclude(cmd, "deployed", "staged")
	if t.People {
		cmd.Flags().Uint64Var(&number, "number", 0, "the configuration of deployment `NUMBER`, see history")
		usage.Exclude(cmd, "deployed", "staged", "number")
	}
	return cmd
}

// readConfig reads a cluster file and says all that is wrong with it.
func (r *run) readConfig(ctx context.Context, name string) (zeekapi.Configuration, error) {
	file, err := r.openConfig(ctx, name)
	if err != nil {
		return zeekapi.Configuration{}, err
	}
	config, warnings, err := file.parse()
	for _, w := range warnings {
		r.warning("%v", w)
	}
	if err != nil {
		r.fail("%v", err)
		return zeekapi.Configuration{}, r.fail("configuration has errors, not sending")
	}
	return config, nil
}

// configFile is a cluster file that was read.
type configFile struct {
	name    string
	text    []byte
	options clusterfile.Options
}

func (f *configFile) parse() (zeekapi.Configuration, configparser.Errors, error) {
	if clusterfile.IsJSON(f.text) {
		config, err := clusterfile.ParseJSON(f.name, bytes.NewReader(f.text), f.options)
		return config, nil, err
	}
	return clusterfile.Parse(f.name, bytes.NewReader(f.text), f.options)
}

// openConfig reads a file, or standard input if that is its name.
func (r *run) openConfig(ctx context.Context, name string) (*configFile, error) {
	shown, in := "<stdin>", r.stdin
	if name != "-" {
		switch info, err := os.Stat(name); {
		case err != nil && r.tool.People:
			return nil, fmt.Errorf("cluster configuration %s: %w", name, reasonOf(err))
		case err != nil || info.IsDir() && !r.tool.People:
			return nil, r.fail("please provide a cluster configuration file.")
		case info.IsDir():
			return nil, fmt.Errorf("cluster configuration %s: is a directory", name)
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		shown, in = name, io.Reader(f)
	}
	text, err := readAll(ctx, in)
	if err != nil {
		return nil, err
	}
	hostname, _ := r.tool.Hostname() // without one it is localhost, as for zeek-client
	return &configFile{shown, text, clusterfile.Options{
		Hostname: hostname,
		Resolve: func(host string) ([]netip.Addr, error) {
			ctx, cancel := context.WithTimeout(ctx, resolveTime)
			defer cancel()
			return r.tool.Resolve(ctx, host)
		},
	}}, nil
}

// reasonOf returns the reason of a file error without the operation.
func reasonOf(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// resolveTime is how long the lookup of a name may take.
const resolveTime = 5 * time.Second

// readAll reads as much as a cluster file may have. Nothing can end a read from
// a terminal or a pipe; at the end of ctx it is left to itself.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	type outcome struct {
		text []byte
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(in, configparser.MaxSize+1))
		done <- outcome{text, err}
	}()
	select {
	case o := <-done:
		return o.text, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *run) stage(ctx context.Context, c *client.Client, config zeekapi.Configuration) (*answer, error) {
	id, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (string, error) {
		return c.Stage(ctx, config)
	})
	out := newAnswer()
	var refused *client.RefusedError
	switch {
	case errors.As(err, &refused):
		for _, text := range refused.Texts {
			if text == "" {
				text = noReason
			}
			out.Errors = append(out.Errors, text)
		}
	case err != nil:
		return nil, err
	}
	if id != "" {
		out.Results["id"] = id
	}
	return out, nil
}

// showStaged shows what became of a configuration that was uploaded.
func (r *run) showStaged(staged *answer) error {
	return r.present(staged, func() []terminal.Line {
		lines := complaints(staged)
		if id, ok := staged.Results["id"]; ok {
			lines = append(lines, terminal.Text("Staged configuration %v.", id))
		}
		return lines
	})
}

// showDeployment shows what became of a deployment. The note is for people if
// all went well and no node had to start.
func (r *run) showDeployment(d client.DeployResult, note string) error {
	for _, strange := range d.Strange {
		r.warning("skipping unexpected response (success %t, error %q, node %q)", strange.Success, strange.Error, strange.Node)
	}
	type shown struct {
		Success  bool    `json:"success"`
		Instance string  `json:"instance"`
		Stdout   *string `json:"stdout,omitempty"`
		Stderr   *string `json:"stderr,omitempty"`
	}
	out := newAnswer()
	for _, text := range d.Errors {
		out.Errors = append(out.Errors, text)
	}
	if d.ID != "" {
		out.Results["id"] = d.ID
	}
	if len(d.Nodes) > 0 {
		nodes := map[string]shown{}
		for _, n := range d.Nodes {
			s := shown{Success: n.Success, Instance: n.Instance}
			if n.Outputs != nil {
				s.Stdout, s.Stderr = &n.Outputs.Stdout, &n.Outputs.Stderr
			}
			nodes[n.Node] = s
		}
		out.Results["nodes"] = nodes
	}
	if err := r.present(out, func() []terminal.Line { return r.deploymentTable(d, out, note) }); err != nil {
		return err
	}
	return failIf(d.Failed)
}

// render returns a configuration as INI or JSON text.
func (r *run) render(config zeekapi.Configuration, asJSON bool) ([]byte, error) {
	if !asJSON {
		for _, i := range config.Instances {
			if i.Name != strings.ToLower(i.Name) {
				r.warning("instance \"%s\" is \"%s\" in an INI file, where keys fold to lower case; --as-json keeps its name", i.Name, strings.ToLower(i.Name))
			}
		}
		return clusterfile.INI(config)
	}
	compact, err := clusterfile.JSON(config)
	if err != nil {
		return nil, err
	}
	text, err := formatJSON(json.RawMessage(compact), r.prettyJSON)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return append(text, '\n'), nil
}
