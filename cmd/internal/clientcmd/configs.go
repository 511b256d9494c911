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

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

const fileHelp = "\n\nFILE is an INI file, or JSON as printed by \"get-config --as-json\", which keeps\nthe ID of the configuration; - is standard input."

func (t *Tool) stageConfig() *cobra.Command {
	var teardown bool
	cmd := t.command("stage-config FILE", "Upload a cluster configuration for later deployment",
		func(ctx context.Context, r *run, args []string) error {
			config, err := r.readConfig(ctx, args[0], teardown)
			if err != nil {
				return err
			}
			c, err := r.connectToStage(ctx, config)
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
	t.addSiteFlag(cmd)
	t.addTeardownFlag(cmd, &teardown)
	return cmd
}

// connectToStage connects to a controller that is going to get a configuration, and
// uploads the site.
func (r *run) connectToStage(ctx context.Context, config zeekapi.Configuration) (*client.Client, error) {
	if config.Site == "" {
		return r.connect(ctx)
	}
	return r.connectWithSite(ctx, config)
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
				config, err = r.presentConfiguration(ctx, deployed)
			}
			if err != nil {
				return requestError(err, "configuration")
			}
			text, err := r.render(config, asJSON, "--as-json")
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
	if t.Extended {
		cmd.Flags().Uint64Var(&number, "number", 0, "the configuration of deployment `NUMBER`, see history")
		usage.Exclude(cmd, "deployed", "staged", "number")
	}
	return cmd
}

// presentConfiguration returns the staged or the deployed configuration. Our controllers announce
// an answer from a stored state.
func (r *run) presentConfiguration(ctx context.Context, deployed bool) (none zeekapi.Configuration, err error) {
	c, err := r.connectAsTool(ctx)
	if err != nil {
		return none, err
	}
	defer c.Close()
	return askOn(ctx, r, c, getConfiguration(deployed))
}

// readConfig reads a cluster file. It reports all errors and warnings to the user. A
// file without nodes is an error unless empty is true; see refuseEmpty.
func (r *run) readConfig(ctx context.Context, name string, empty bool) (zeekapi.Configuration, error) {
	file, config, err := r.parseConfig(ctx, name)
	if file != nil && err != nil {
		return zeekapi.Configuration{}, r.fail("configuration has errors, not sending")
	}
	if err != nil {
		return zeekapi.Configuration{}, err
	}
	if err := r.refuseEmpty(ctx, file, config, empty); err != nil {
		return zeekapi.Configuration{}, err
	}
	if r.tool.Extended {
		r.places = configcheck.NewLocator(file.name, file.text, file.options.Extended)
		r.warnOf(config)
	}
	return config, nil
}

// configFile is the content of a cluster file.
type configFile struct {
	name    string
	text    []byte
	options clusterfile.Options
	site    *fileSite
}

// parse parses the file and packs its site. It returns all warnings and errors, as
// clusterfile.Parse does.
func (f *configFile) parse() (zeekapi.Configuration, configparser.Errors, error) {
	config, warnings, err := f.parseText()
	var errs configparser.Errors
	if err != nil && !errors.As(err, &errs) {
		return config, warnings, err
	}
	if errs = f.site.override(&config, errs); len(errs) > 0 {
		return config, warnings, errs
	}
	return config, warnings, nil
}

func (f *configFile) parseText() (zeekapi.Configuration, configparser.Errors, error) {
	if clusterfile.IsJSON(f.text) {
		config, err := clusterfile.ParseJSON(f.name, bytes.NewReader(f.text), f.options)
		return config, nil, err
	}
	return clusterfile.Parse(f.name, bytes.NewReader(f.text), f.options)
}

// openConfig reads a cluster file. The name - is standard input.
func (r *run) openConfig(ctx context.Context, name string) (*configFile, error) {
	shown, in := "<stdin>", r.stdin
	if name != "-" {
		switch info, err := os.Stat(name); {
		case err != nil && r.tool.Extended:
			return nil, fmt.Errorf("cluster configuration %s: %w", name, reasonOf(err))
		case err != nil || info.IsDir() && !r.tool.Extended:
			return nil, r.fail("please provide a cluster configuration file.")
		case info.IsDir():
			return nil, fmt.Errorf("cluster configuration %s: is a directory", name)
		}
		f, err := os.Open(name)
		if err != nil && r.tool.Extended {
			return nil, fmt.Errorf("cluster configuration %s: %w", name, reasonOf(err))
		}
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
	r.site = r.newFileSite(name)
	hostname, _ := r.tool.Hostname() // on error "", which becomes localhost as in zeek-client
	return &configFile{shown, text, clusterfile.Options{
		Hostname: hostname,
		Thorough: r.tool.Extended,
		Extended: r.tool.Extended,
		Resolve: func(host string) ([]netip.Addr, error) {
			ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
			defer cancel()
			return r.tool.Resolve(ctx, host)
		},
		Site: r.site.option(),
	}, r.site}, nil
}

// reasonOf returns the reason of a file error without the operation.
func reasonOf(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

// resolveTimeout limits the lookup of a host name.
const resolveTimeout = 5 * time.Second

// readAll reads the input up to the maximum size of a cluster file. A blocked read
// from a terminal or a pipe cannot be canceled: when ctx ends, readAll returns and
// its goroutine continues to read.
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

// stage uploads a configuration. The report has its ID, or the errors for which the
// controller refused it.
func (r *run) stage(ctx context.Context, c *client.Client, config zeekapi.Configuration) (*report, error) {
	id, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (string, error) {
		return c.Stage(ctx, config)
	})
	out := newReport()
	var refused *client.RefusedError
	switch {
	case errors.As(err, &refused):
		for _, text := range refused.Texts {
			if text == "" {
				text = noReason
			}
			out.Errors = append(out.Errors, r.withLine(text))
		}
	case err != nil:
		return nil, err
	}
	if id != "" {
		out.Results["id"] = id
	}
	return out, nil
}

// withLine adds the line of the cluster file to an error text of the controller, if there
// is one.
func (r *run) withLine(text string) string {
	if r.places == nil {
		return text
	}
	e := r.places.LocateText(text)
	if e.Line == 0 {
		return text
	}
	e.Text = text
	return e.Error()
}

// showStaged prints the result of stage.
func (r *run) showStaged(staged *report) error {
	return r.present(staged, func() []terminal.Line {
		lines := reportErrorLines(staged)
		if id, ok := staged.Results["id"]; ok {
			lines = append(lines, terminal.Text("Staged configuration %v.", id))
		}
		return lines
	})
}

// render returns a configuration as INI or JSON text. The flag is that of the command for
// JSON.
func (r *run) render(config zeekapi.Configuration, asJSON bool, flag string) ([]byte, error) {
	if !r.tool.Extended && config.Site != "" {
		r.warning("the configuration has a site, which only \"zeekwire get-config\" shows: %s", config.Site)
		config.Site = ""
	}
	if !asJSON {
		return r.renderINI(config, flag)
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

func (r *run) renderINI(config zeekapi.Configuration, flag string) ([]byte, error) {
	for _, i := range config.Instances {
		if i.Name != strings.ToLower(i.Name) {
			r.warning("instance \"%s\" is \"%s\" in an INI file, where keys fold to lower case; %s keeps its name", i.Name, strings.ToLower(i.Name), flag)
		}
	}
	write := clusterfile.PlainINI
	if r.tool.Extended {
		write = clusterfile.INI
	}
	text, err := write(config)
	if errors.Is(err, configparser.ErrUnwritable) {
		err = fmt.Errorf("%w; %s prints it as JSON", err, flag)
	}
	return text, err
}
