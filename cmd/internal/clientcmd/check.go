package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// finding is an error or a warning of check-config.
type finding struct {
	*configparser.Error
	Severity string
}

const (
	severityError   = "error"
	severityWarning = "warning"
)

func (f finding) String() string {
	return fmt.Sprintf("%s: %s: %s", f.Place(), f.Severity, f.Text)
}

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
				if f.Severity == severityError {
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
func (f *configFile) check() (zeekapi.Configuration, []finding) {
	config, warnings, err := f.parse()
	if foreign := clusterfile.Foreign(f.name, f.text); foreign != nil {
		config, warnings, err = zeekapi.Configuration{}, nil, foreign
	}
	var errs configparser.Errors
	switch {
	case errors.As(err, &errs):
	case err != nil:
		errs.Add(&configparser.Error{File: f.name, Text: err.Error()})
	default:
		warnings = append(warnings, f.site.warnings()...)
		places := locator{f.name, clusterfile.FindPlaces(f.text, f.options.Extended)}
		var refused []*configparser.Error
		for _, text := range controller.DefaultSettings().Check(config) {
			e := places.locateText(text)
			e.Text = text
			refused = append(refused, e)
		}
		refused = append(refused, places.locateAll(slices.Concat(clusterfile.Announcements(config), clusterfile.Refusals(config)))...)
		for _, e := range places.merged(refused) {
			errs.Add(e)
		}
		for _, e := range places.merged(places.locateAll(clusterfile.Advise(config))) {
			warnings.Add(e)
		}
	}
	var found []finding
	for len(errs)+len(warnings) > 0 {
		if len(warnings) == 0 || len(errs) > 0 && errs[0].Line <= warnings[0].Line {
			found, errs = append(found, finding{errs[0], severityError}), errs[1:]
		} else {
			found, warnings = append(found, finding{warnings[0], severityWarning}), warnings[1:]
		}
	}
	return config, found
}

// checkEmpty returns the finding about a file without nodes, for which deploy-config
// requires --teardown, but not in zeek-client.
func (f *configFile) checkEmpty(refused bool) finding {
	found := finding{&configparser.Error{File: f.name, Text: "the file " + f.emptiness() + ", so its deployment ends the cluster"}, severityWarning}
	if refused {
		found.Severity = severityError
		found.Text += "; that requires --teardown"
	}
	return found
}

// locator finds the line of a cluster file to which an error or a warning
// belongs.
type locator struct {
	name   string
	places *clusterfile.Places
}

// locate returns an error without a text at the line of a key of a node, of a
// node, or of an instance. If the file does not have it, the error has no line.
func (f locator) locate(node, instance, key string) *configparser.Error {
	e := &configparser.Error{File: f.name}
	switch {
	case node == "" && instance != "" && f.places.Instance(instance) > 0:
		e.Section, e.Key, e.Line = "instances", instance, f.places.Instance(instance)
	case node != "" && f.places.Node(node, key) > 0:
		e.Section, e.Key, e.Line = node, key, f.places.Node(node, key)
	case node != "" && f.places.Node(node, "") > 0:
		e.Section, e.Line = node, f.places.Node(node, "")
	}
	return e
}

// locateAll returns advice as errors at their lines.
func (f locator) locateAll(all []clusterfile.Advice) []*configparser.Error {
	return list(all, func(a clusterfile.Advice) *configparser.Error {
		e := f.locate(a.Node, a.Instance, a.Key)
		e.Text = a.Text
		return e
	})
}

// varying matches what differs between errors about nodes of one section: quoted names,
// and numbers.
var varying = regexp.MustCompile(`"[^"]*"|'[^']*'|[\w.:-]*[0-9]`)

// merged returns errors, each of which may concern several nodes for which a section of
// the file stands. The first one counts, and says how many more nodes have it.
func (f locator) merged(all []*configparser.Error) []*configparser.Error {
	type kind struct {
		section, text string
		line          int
	}
	first := map[kind]*configparser.Error{}
	more := map[*configparser.Error]int{}
	var result []*configparser.Error
	for _, e := range all {
		if section := f.places.Section(e.Section); section != "" {
			k := kind{section, varying.ReplaceAllString(e.Text, ""), e.Line}
			if first[k] != nil {
				more[first[k]]++
				continue
			}
			first[k] = e
		}
		result = append(result, e)
	}
	for e, n := range more {
		e.Text += fmt.Sprintf(" (and the same for %s of [%s])", plural(n, "more node"), f.places.Section(e.Section))
	}
	return result
}

// locateText returns an error without a text at the line to which an error text of
// the controller belongs. These texts have names in quotes, followed by the key.
func (f locator) locateText(text string) *configparser.Error {
	key := ""
	switch {
	case strings.Contains(text, "' port "):
		key = "port"
	case strings.Contains(text, "' metrics port "):
		key = "metrics_port"
	case strings.Contains(text, "undeclared instance"):
		key = "instance"
	}
	for i, name := range strings.Split(text, "'") {
		if i%2 == 0 || name == "" {
			continue
		}
		if e := f.locate(name, "", key); e.Line > 0 {
			return e
		}
		if e := f.locate("", name, ""); e.Line > 0 {
			return e
		}
	}
	return &configparser.Error{File: f.name}
}

// findingsView returns the JSON output of check-config.
func findingsView(config zeekapi.Configuration, found []finding) any {
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
		if f.Severity == severityError {
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
