package clientcmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

func (t *Tool) checkConfig() *cobra.Command {
	cmd := t.command("check-config FILE", "Check a cluster configuration without a controller",
		func(ctx context.Context, r *run, args []string) error {
			file, err := r.openConfig(ctx, args[0])
			if err != nil {
				return err
			}
			file.options.Thorough = true
			config, found := file.check()
			if len(config.Nodes) == 0 && len(found) == 0 {
				found = append(found, file.checkEmpty(t.Extended))
			}
			errs, warnings := 0, 0
			for _, f := range found {
				if f.Severity == configcheck.Error {
					errs++
				} else {
					warnings++
				}
			}
			if t.flags.json {
				err = r.print(findingsView(config, found))
			} else {
				for _, f := range found {
					fmt.Fprintln(r.stdout, f)
				}
				_, err = fmt.Fprintf(r.stdout, "%s: %s, %s\n", file.name, plural(errs, "error"), plural(warnings, "warning"))
			}
			if err != nil {
				return err
			}
			return failIf(errs > 0 || warnings > 0 && t.flags.strictExit)
		})
	cmd.Long = cmd.Short + `.

It reports errors for which the controller, or an agent on any machine, would
refuse the configuration, and warnings about probable mistakes. Host names are
resolved as for deployment. With --strict-exit, warnings count as errors.

The output has lines in the form FILE:LINE: error: TEXT, also on a terminal, or
FILE:LINE:COLUMN: error: TEXT where the column is known.
With --json, the output has the keys errors, warnings and results.` + fileHelp
	t.addSiteFlag(cmd)
	if !t.Extended {
		cmd.Flags().BoolVar(&t.flags.json, "json", false, "JSON output")
	}
	return cmd
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// check parses the file and returns its errors and warnings, in the order of its
// lines.
func (f *configFile) check() (zeekapi.Configuration, []configcheck.Finding) {
	config, warnings, err := f.parse()
	if err == nil {
		warnings = append(warnings, f.site.warnings()...)
	}
	return configcheck.Find(f.name, f.text, f.options.Extended, config, warnings, err)
}

// checkEmpty returns the finding about a file without nodes, for which deploy-config
// requires --teardown, but not in zeek-client.
func (f *configFile) checkEmpty(refused bool) configcheck.Finding {
	found := configcheck.Finding{
		Error:    &configparser.Error{File: f.name, Text: "the file " + f.emptiness() + ", so its deployment ends the cluster"},
		Severity: configcheck.Warning,
	}
	if refused {
		found.Severity = configcheck.Error
		found.Text += "; that requires --teardown"
	}
	return found
}

// findingsView returns the JSON output of check-config.
func findingsView(config zeekapi.Configuration, found []configcheck.Finding) any {
	type shown struct {
		File    string  `json:"file"`
		Line    *int    `json:"line"`
		Column  int     `json:"column,omitempty"`
		Section *string `json:"section"`
		Key     *string `json:"key"`
		Text    string  `json:"text"`
	}
	out := struct {
		Errors   []shown        `json:"errors"`
		Warnings []shown        `json:"warnings"`
		Results  map[string]int `json:"results"`
	}{[]shown{}, []shown{}, map[string]int{}}
	for _, f := range found {
		s := shown{f.File, orNull(f.Line), f.Column, orNull(f.Section), orNull(f.Key), f.Text}
		if f.Severity == configcheck.Error {
			out.Errors = append(out.Errors, s)
		} else {
			out.Warnings = append(out.Warnings, s)
		}
	}
	if len(out.Errors) == 0 {
		out.Results["instances"], out.Results["nodes"] = len(config.Instances), len(config.Nodes)
	}
	return out
}
