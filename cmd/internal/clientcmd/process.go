package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
	"github.com/zeekwire/zeekwire/zeekapi/redact"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func (t *Tool) process() *cobra.Command {
	var p capture
	cmd := t.command("process TRACE.pcap [ARGUMENT...]", "Run a capture through the deployed scripts",
		func(ctx context.Context, r *run, args []string) error {
			p.run, p.trace, p.args = r, args[0], args[1:]
			return p.process(ctx)
		})
	cmd.Long = cmd.Short + `.

The command gets the deployed configuration and its site from the controller,
and runs the Zeek of this machine on the capture, with the scripts and
environment variables of a node. The nodes of the cluster are not involved, and
Zeek does not run as part of a cluster. It runs with your permissions, and
writes its logs to an empty directory.

The scripts and options of all nodes are used, too: the command asks the agent
of the node for its setting node-args. If the agent does not answer, or is
Zeek's, the command reports that and runs without them. --node-args=false omits
them.

Further arguments are passed to Zeek: more scripts, or options after "--".

Zeek's outputs go to standard error. The JSON has the keys node, site (null
without one), zeek (the program), directory, logs (a list) and exit_code. The
exit code of the command is 1 if Zeek fails.` + jsonHelp
	cmd.Flags().StringVar(&p.node, "node", "", "`NODE` whose scripts and environment to use (default: the first worker)")
	cmd.Flags().BoolVar(&p.nodeArgs, "node-args", true, "use the scripts and options of all nodes")
	cmd.Flags().StringVar(&p.dir, "output", "", "`DIR` for the logs, which must be empty or not exist (default: a new temporary one)")
	cmd.Flags().StringVar(&p.zeek, "zeek", "zeek", "`PATH` of the program to run")
	return cmd
}

// capture is a capture that is run through the scripts of a node.
type capture struct {
	*run
	trace string
	args  []string // further ones of Zeek
	node  string   // "": any
	dir   string   // of the logs; "": a new one
	zeek  string   // the program

	nodeArgs bool     // use the arguments of all nodes
	common   []string // these arguments
}

func (p *capture) process(ctx context.Context) error {
	if err := p.prepare(); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "zeekwire-site-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	node, id, scripts, err := p.fetch(ctx, filepath.Join(temp, "site"))
	if err != nil {
		return err
	}
	env, err := p.environment(ctx, node, scripts)
	if err != nil {
		return err
	}
	if err := p.makeDirectory(); err != nil {
		return err
	}
	return p.show(node, id, p.execute(ctx, node, env))
}

// fetch gets the node and, in dir, the site of the deployed configuration from the
// controller. The scripts are "" without a site.
func (p *capture) fetch(ctx context.Context, dir string) (node zeekapi.Node, id, scripts string, err error) {
	c, err := p.connectAll(ctx)
	if err != nil {
		return node, "", "", err
	}
	defer c.Close()
	config, err := askOn(ctx, p.run, c, getConfiguration(true))
	if err != nil {
		return node, "", "", requestError(err, "configuration")
	}
	if node, err = processingNode(config.Nodes, p.node); err == nil {
		scripts, err = p.siteDirectory(ctx, c, config.Site, dir)
	}
	if err == nil && p.nodeArgs {
		p.common = p.askNodeArgs(ctx, c, node.Name)
	}
	return node, config.Site, scripts, err
}

// askNodeArgs returns the arguments that the agent of a node gives to all its nodes.
func (p *capture) askNodeArgs(ctx context.Context, c *client.Client, node string) []string {
	d, err := askOn(ctx, p.run, c, func(ctx context.Context, c *client.Client) (zeekapi.Diagnosis, error) {
		return c.Diagnose(ctx, node, 1)
	})
	if err != nil {
		p.warning("without the arguments of all nodes, which are unknown: %v", err)
		return nil
	}
	i := slices.IndexFunc(d.Facts, func(f zeekapi.Fact) bool { return f.Name == zeekapi.FactNodeArgs })
	if i < 0 {
		return nil
	}
	words, err := shlex.Split(d.Facts[i].Value)
	if err != nil || strings.Contains(d.Facts[i].Value, redact.Mask) {
		p.warning("without the arguments of all nodes, which have a secret or cannot be read: %s", d.Facts[i].Value)
		return nil
	}
	return words
}

// prepare checks the files on this machine, and makes their names absolute.
func (p *capture) prepare() error {
	for _, name := range []*string{&p.trace, &p.dir} {
		if *name == "" {
			continue
		}
		var err error
		if *name, err = filepath.Abs(*name); err != nil {
			return err
		}
	}
	if info, err := os.Stat(p.trace); err != nil {
		return err
	} else if info.IsDir() {
		return fmt.Errorf("%s is a directory, want a capture", p.trace)
	}
	if p.dir != "" {
		switch entries, err := os.ReadDir(p.dir); {
		case len(entries) > 0:
			return fmt.Errorf("directory %s is not empty; Zeek would overwrite what is there", p.dir)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	zeek, err := exec.LookPath(p.zeek)
	if err == nil {
		p.zeek, err = filepath.Abs(zeek)
	}
	if err != nil {
		return fmt.Errorf("no Zeek on this machine: %w; see --zeek", err)
	}
	return nil
}

// processingNode returns the node with that name, or the first worker if it is "". Without
// workers it returns the first node.
func processingNode(nodes []zeekapi.Node, name string) (zeekapi.Node, error) {
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b zeekapi.Node) int { return strings.Compare(a.Name, b.Name) })
	i := slices.IndexFunc(nodes, func(n zeekapi.Node) bool {
		return n.Name == name || name == "" && n.Role == zeekapi.RoleWorker
	})
	switch {
	case i >= 0:
		return nodes[i], nil
	case name != "":
		return zeekapi.Node{}, fmt.Errorf("the deployed configuration has no node %s", name)
	case len(nodes) == 0:
		return zeekapi.Node{}, errors.New("the deployed configuration has no nodes")
	}
	return nodes[0], nil
}

func (p *capture) makeDirectory() (err error) {
	if p.dir == "" {
		p.dir, err = os.MkdirTemp("", "zeekwire-process-")
		return err
	}
	return os.MkdirAll(p.dir, 0o755)
}

// environment returns the environment of Zeek: the environment of this process and that of
// the node, without the variables that make a process part of a cluster. Scripts of the
// site come before those of Zeek, as on nodes.
func (p *capture) environment(ctx context.Context, node zeekapi.Node, scripts string) ([]string, error) {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CLUSTER_NODE=") || strings.HasPrefix(v, "ZEEK_AGENT_") || strings.HasPrefix(v, tokenVariable+"=")
	})
	for _, key := range slices.Sorted(maps.Keys(node.Env)) {
		env = append(env, key+"="+node.Env[key])
	}
	if scripts == "" {
		return env, nil
	}
	plugins, err := site.Plugins(scripts, p.tool.siteLimits())
	if err != nil {
		return nil, err
	}
	paths := map[string]string{"ZEEKPATH": ".:" + scripts}
	if len(plugins) > 0 {
		paths["ZEEK_PLUGIN_PATH"] = scripts
	}
	for name, first := range paths {
		rest := node.Env[name]
		if rest == "" {
			rest = p.tool.Getenv(name)
		}
		if rest == "" {
			rest = p.searchPath(ctx, name)
		}
		if rest == "" && name == "ZEEKPATH" {
			return nil, fmt.Errorf("the search path of %s is unknown; set %s", p.zeek, name)
		}
		env = append(env, name+"="+strings.TrimSuffix(first+":"+rest, ":"))
	}
	return env, nil
}

// searchPath returns Zeek's default of a search path, "" if it is unknown. It reads the help
// of Zeek, because the program zeek-config is often missing.
func (p *capture) searchPath(ctx context.Context, name string) string {
	help, _ := exec.CommandContext(ctx, p.zeek, "--help").CombinedOutput() // exits with 1
	found := regexp.MustCompile(`\$` + name + ` .*\((.*)\)`).FindSubmatch(help)
	if found == nil {
		return ""
	}
	return strings.TrimPrefix(string(found[1]), ".:")
}

// zeekKillDelay is the time that Zeek may take to end after an interrupt.
const zeekKillDelay = 10 * time.Second

// execute runs Zeek.
func (p *capture) execute(ctx context.Context, node zeekapi.Node, env []string) error {
	args := slices.Concat([]string{"-r", p.trace}, p.common, node.Scripts, p.args)
	p.info("running %s %s in %s", p.zeek, strings.Join(args, " "), p.dir)
	cmd := exec.CommandContext(ctx, p.zeek, args...)
	cmd.Dir, cmd.Env = p.dir, env
	if !p.tool.flags.quiet {
		cmd.Stdout, cmd.Stderr = p.messages.w, p.messages.w
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = zeekKillDelay
	return cmd.Run()
}

// show prints where the logs are, and returns the error of the command.
func (p *capture) show(node zeekapi.Node, siteID string, failure error) error {
	logs, err := filepath.Glob(filepath.Join(p.dir, "*.log"))
	if err != nil {
		return err
	}
	for i := range logs {
		logs[i] = filepath.Base(logs[i])
	}
	code := 0
	var exit *exec.ExitError
	if errors.As(failure, &exit) {
		code = exit.ExitCode()
	} else if failure != nil {
		return fmt.Errorf("%s: %w", p.zeek, failure)
	}
	err = p.present(map[string]any{
		"node": node.Name, "site": orNull(siteID), "zeek": p.zeek, "directory": p.dir, "logs": names(logs), "exit_code": code,
	}, func() []terminal.Line {
		return []terminal.Line{
			terminal.Text("Scripts of:  %s", node.Name),
			terminal.Text("Directory:   %s", p.dir),
			terminal.Text("Logs:        %s", orNone(strings.Join(logs, ", "))),
		}
	})
	if err == nil && failure != nil {
		err = fmt.Errorf("zeek has failed: %w", failure)
	}
	return err
}
