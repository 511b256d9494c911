package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/configcheck"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
)

// maxFile limits the size of a cluster file, in bytes.
const maxFile = 1 << 20

// clusterFile is a cluster file of a visitor.
type clusterFile struct {
	Name   string
	Text   string
	Site   *uploadedSite // that the visitor has uploaded for it; nil for none
	config zeekapi.Configuration

	mayUpload bool
	warnings  []string // about the site
}

// The titles of operations with pages of their own.
const (
	reviewTitle   = "Review"
	deployTitle   = "Deploy"
	rollbackTitle = "Roll back"
)

// editorView is the page for uploading or editing a cluster file.
type editorView struct {
	Stale     *staleness
	Text      string
	Source    string // where the text is from
	MayCheck  bool
	MayDeploy bool
	MayUpload bool
	Site      *uploadedSite // that the visitor has uploaded before
	MaxSite   uint64        // bytes
	Deploying *zeekapi.Deployment
}

func (c *Console) editor(r *http.Request, v Visitor) (view, error) {
	s, _ := c.watch.get()
	e := editorView{Stale: stale(s), MayCheck: v.May(zeekapi.CheckCall.Request), MayDeploy: v.May(zeekapi.DeployStagedCall.Request),
		MayUpload: v.May(zeekapi.UploadSiteCall.Request), MaxSite: uint64(c.siteLimits.Bytes)}
	if last := s.Status.Last; last != nil && last.Outcome == zeekapi.OutcomePending {
		e.Deploying = last
	}
	q := r.URL.Query()
	switch number, id := q.Get("from"), q.Get("operation"); {
	case id != "":
		x, err := c.operation.find(id)
		if err != nil {
			return view{}, err
		}
		if o := x.get(); o.File != nil {
			e.Text, e.Source, e.Site = o.File.Text, "the file that you have checked", o.File.Site
		}
	case number != "":
		config, _, err := c.past(r, v, number)
		if err != nil {
			return view{}, err
		}
		e.Text, e.Source = fileOf(config), "deployment "+number
	case s.Status.Target != "":
		e.Text, e.Source = c.current(r, s), "the configuration that should run"
	}
	return view{Name: "editor", Title: "Deploy", Data: e, Still: true}, nil
}

// current returns the configuration that should run as a file: as it was staged, if possible,
// because then it does not have the ports that the controller assigns.
func (c *Console) current(r *http.Request, s snapshot) string {
	text, _ := cached(&c.answers, "current "+s.Status.Target+s.Status.Staged, time.Minute, func() (string, error) {
		ctx, cancel := within(r, client.DefaultTimeout)
		defer cancel()
		if config, err := c.client.GetConfiguration(ctx, false); err == nil && config.ID == s.Status.Target {
			return fileOf(config), nil
		}
		return fileOf(s.Config), nil
	})
	return text
}

// fileOf returns a configuration as the text of a cluster file: as INI, or as JSON if it has
// a name or a value that INI cannot have. The JSON omits the ID, because the edited
// configuration is a new one.
func fileOf(config zeekapi.Configuration) string {
	upper := func(i zeekapi.Instance) bool { return i.Name != strings.ToLower(i.Name) }
	text, err := clusterfile.INI(config)
	if err == nil && !slices.ContainsFunc(config.Instances, upper) {
		return string(text)
	}
	config.ID = ""
	compact, jsonErr := clusterfile.JSON(config)
	replaced := []byte(`\ufffd`) // by which encoding/json replaces what is not UTF-8
	var b bytes.Buffer
	if bytes.Contains(compact, replaced) || json.Indent(&b, compact, "", "  ") != nil {
		reason := cmp.Or(err, jsonErr, errors.New("the configuration has text that is not UTF-8"))
		return "# " + strings.ReplaceAll(reason.Error(), "\n", " ") + "\n"
	}
	return b.String() + "\n"
}

// baseName returns the last part of the name of a file on any system.
func baseName(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

// parse reads the file, and returns what is wrong with it.
func (f *clusterFile) parse(ctx context.Context) []configcheck.Finding {
	o := clusterfile.Options{
		Extended: true, Thorough: true,
		Resolve: func(host string) ([]netip.Addr, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		Site: f.siteOf,
	}
	if clusterfile.IsJSON([]byte(f.Text)) {
		config, err := clusterfile.ParseJSON(f.Name, strings.NewReader(f.Text), o)
		var found []configcheck.Finding
		f.config, found = configcheck.Find(f.Name, []byte(f.Text), true, config, nil, err)
		return found
	}
	config, warnings, err := clusterfile.Parse(f.Name, strings.NewReader(f.Text), o)
	var found []configcheck.Finding
	f.config, found = configcheck.Find(f.Name, []byte(f.Text), true, config, warnings, err)
	return found
}

// siteOf returns the ID of the site that a file names as a directory.
func (f *clusterFile) siteOf(dir string) (string, error) {
	switch {
	case f.Site != nil:
		return f.Site.ID, nil
	case f.mayUpload:
		return "", fmt.Errorf("the file needs the directory %q on your machine: edit it again, and choose the directory, or an archive of it, as the site", dir)
	}
	return "", fmt.Errorf("the file needs the directory %q on your machine: "+
		"use \"zeekwire deploy-config\", or name a site that the controller has as sha256:ID", dir)
}

// review is the result of a check.
type review struct {
	Errors   int
	Warnings int
	General  []problem // without a line
	Excerpt  []sourceLine
	Diff     *diffView // nil if there was no comparison
	Machines int       // that were asked
	Empty    bool      // deploying the file ends the cluster
}

// problem is an error or a warning.
type problem struct {
	Severity string
	Where    string // the nodes or the instance; "" if the line says it
	Text     string
}

// sourceLine is a line of a file with its problems.
type sourceLine struct {
	Number   int // 0 for lines that are left out
	Text     string
	Problems []problem
}

// review checks a file: first alone, then against the configuration that should run, and
// then on the machines.
func (c *Console) review(r *http.Request, v Visitor) (string, error) {
	file, err := c.readFile(r, v)
	if err != nil {
		return "", err
	}
	o := operation{Title: reviewTitle, By: v, File: file, Back: "/deploy"}
	m := newMarks(file)
	for _, finding := range file.parse(r.Context()) {
		m.add(finding.Line, problem{Severity: finding.Severity, Text: finding.Text})
	}
	for _, text := range file.warnings {
		m.add(0, problem{Severity: configcheck.Warning, Text: text})
	}
	if file.Site != nil {
		file.config.Site = file.Site.ID // also of a file that names no site
	}
	o.Review = &review{Empty: len(file.config.Nodes) == 0}
	if m.errors == 0 {
		ctx, cancel := within(r, client.DefaultTimeout)
		defer cancel()
		diff, err := v.Client.DryRun(ctx, file.config)
		var refused *client.RefusedError
		switch {
		case errors.As(err, &refused):
			for _, text := range refused.Texts {
				m.addText(text)
			}
		case err != nil:
			return "", err
		}
		o.Review.Diff = newDiffView(diff, m.places)
	}
	if m.errors > 0 {
		o.Review.Diff = nil
		m.into(o.Review)
		return c.begin(o, func(*running) {})
	}
	return c.start(o, zeekapi.CheckRequest{Config: &file.config}, func(x *running, results []zeekapi.Result, err error) {
		var result client.DeployResult
		if err == nil {
			result, err = client.NewDeployResult(results)
		}
		x.set(func(o *operation) {
			rv := *o.Review
			if o.Review = &rv; err != nil {
				o.Failed = errorText(err)
			} else {
				rv.Machines = len(file.config.Instances)
				m.addResult(result)
			}
			m.into(&rv)
		})
	})
}

// deploy deploys a file that was checked.
func (c *Console) deploy(r *http.Request, v Visitor) (string, error) {
	x, err := c.operation.find(r.PathValue("id"))
	if err != nil {
		return "", err
	}
	checked := x.get()
	if checked.File == nil || !checked.Done() || checked.Review == nil || checked.Review.Errors > 0 || checked.Review.Diff == nil {
		return "", &failure{http.StatusConflict, "The file has not passed its check."}
	}
	config := checked.File.config
	ctx, cancel := within(r, client.DefaultTimeout)
	defer cancel()
	switch diff, err := v.Client.DryRun(ctx, config); {
	case err != nil:
		return "", err
	case diff.From != checked.Review.Diff.From:
		return "", &failure{http.StatusConflict, "Somebody has deployed another configuration since the check. Check the file again, to see what it would change now."}
	}
	if _, err := v.Client.Stage(ctx, config); err != nil {
		return "", err
	}
	q := zeekapi.DeployStagedRequest{Expects: config.Fingerprint(), DeployOptions: zeekapi.DeployOptions{
		Partial: r.PostFormValue("partial") != "", NoRollback: r.PostFormValue("no-rollback") != "",
	}}
	return c.start(operation{Title: deployTitle, By: v, File: checked.File, Back: "/deploy?operation=" + checked.ID}, q, c.finishDeployment)
}

// finishDeployment sets the results of a deployment, and waits for its end.
func (c *Console) finishDeployment(x *running, results []zeekapi.Result, err error) {
	x.finish(results, err)
	if o := x.get(); o.Result != nil {
		c.follow(x, *o.Result)
	}
}

// followTimeout limits the time for which the console follows a deployment that takes
// longer than its request.
const followTimeout = 10 * time.Minute

// follow waits for the end of a deployment that the controller continues.
func (c *Console) follow(x *running, result client.DeployResult) {
	ctx, cancel := c.background(followTimeout)
	defer cancel()
	for began := x.get().Started.Add(-time.Second); result.Continues && ctx.Err() == nil; {
		s, changed := c.watch.get()
		if last := s.Status.Last; last != nil && !last.Started.Before(began) && last.Outcome != zeekapi.OutcomePending {
			x.set(func(o *operation) { o.Outcome, o.Number = last.Outcome, last.Number })
			return
		}
		c.watch.refresh()
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}
