package clientcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// siteHelp describes sites in the help of commands that read a cluster file.
const siteHelp = `

The section [cluster] of an INI file may name a site, a directory with scripts
that travel with the configuration: "site = DIR", relative to the file. --site
replaces it.`

// addSiteFlag adds the flag for the directory of the site.
func (t *Tool) addSiteFlag(cmd *cobra.Command) {
	if !t.Extended {
		return
	}
	cmd.Flags().StringVar(&t.flags.site, "site", "", "`DIR` with the scripts of the cluster, instead of the one that FILE names")
	_ = cmd.MarkFlagDirname("site") // it fails only for an unknown flag
	cmd.Flags().IntVar(&t.flags.siteSize, "site-size", site.DefaultMaxBytes/mebibyte, "`MIB` that the site may have, as in the settings of controller and agents")
	cmd.Flags().IntVar(&t.flags.siteFiles, "site-files", site.DefaultMaxFiles, "`NUMBER` of files that the site may have, as in the settings of controller and agents")
	cmd.Long += siteHelp
}

// mebibyte is the unit of --site-size, in bytes.
const mebibyte = 1 << 20

// siteLimits returns the limits for sites from the flags. Commands without these flags
// have the defaults.
func (t *Tool) siteLimits() site.Limits {
	return site.Limits{Bytes: int64(t.flags.siteSize) * mebibyte, Files: t.flags.siteFiles}
}

// fileSite is the site of a cluster file, as far as it is on this machine. A nil
// fileSite is that of a command without sites.
type fileSite struct {
	flag   string // --site
	limits site.Limits
	base   string // directory to which the names in the file are relative

	dir    string
	packed *site.Packed // nil if the file names no directory
}

// newFileSite returns the site of a cluster file that is about to be read, nil if the
// command is that of zeek-client.
func (r *run) newFileSite(file string) *fileSite {
	if !r.tool.Extended {
		return nil
	}
	return &fileSite{flag: r.tool.flags.site, limits: r.tool.siteLimits(), base: filepath.Dir(file)} // . for standard input
}

// option returns the function for clusterfile.Options.Site.
func (s *fileSite) option() func(dir string) (id string, err error) {
	if s == nil {
		return nil
	}
	return func(dir string) (string, error) {
		if s.flag != "" {
			return "", nil // see override
		}
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(s.base, dir)
		}
		return s.pack(dir)
	}
}

// pack packs the site in a directory and returns its ID.
func (s *fileSite) pack(dir string) (string, error) {
	packed, err := site.Pack(dir, s.limits)
	if err != nil {
		return "", err
	}
	s.dir, s.packed = dir, packed
	return packed.ID, nil
}

// is reports whether s is the site with an ID.
func (s *fileSite) is(id string) bool { return s != nil && s.packed != nil && s.packed.ID == id }

// override makes a configuration have the site of --site, if the flag is set.
func (s *fileSite) override(config *zeekapi.Configuration, errs configparser.Errors) configparser.Errors {
	if s == nil || s.flag == "" {
		return errs
	}
	var err error
	if config.Site, err = s.pack(s.flag); err != nil {
		for _, problem := range separate(err) {
			errs.Add(&configparser.Error{File: s.flag, Text: problem.Error()})
		}
	}
	return errs
}

// separate returns the errors that err consists of.
func separate(err error) []error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return several.Unwrap()
	}
	return []error{err}
}

// connectWithSite connects to a controller that is going to get a configuration with
// a site, and uploads the site.
func (r *run) connectWithSite(ctx context.Context, config zeekapi.Configuration) (*client.Client, error) {
	if r.site.is(config.Site) {
		c, err := r.connectAndUpload(ctx, r.site.packed)
		if err == nil {
			r.warnOfPlugins(ctx, c, config)
		}
		return c, err
	}
	c, err := r.connectExtended(ctx, "sites")
	if err != nil {
		return nil, err
	}
	at, err := askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (zeekapi.SiteProgress, error) {
		return c.SiteProgress(ctx, config.Site)
	})
	if err == nil && at.Complete {
		return c, nil
	}
	c.Close()
	if err != nil {
		return nil, r.siteError(err)
	}
	return nil, r.fail("the controller %s does not have the site %s; name its directory with --site", r.remote(), config.Site)
}

// uploadAttempts limits the connections in a row that are lost before the controller
// has more of a site.
const uploadAttempts = 5

// connectAndUpload connects and uploads a site. If the connection is lost, it
// connects again and continues.
func (r *run) connectAndUpload(ctx context.Context, p *site.Packed) (*client.Client, error) {
	if len(p.Skipped) > 0 {
		r.info("files of version control are not part of the site: %s", strings.Join(p.Skipped, ", "))
	}
	var have uint64
	for attempt := 1; ; attempt++ {
		c, err := r.connectExtended(ctx, "sites")
		if err != nil {
			return nil, err
		}
		before := have
		have, err = r.sendSite(ctx, c, p)
		if err == nil {
			return c, nil
		}
		c.Close()
		if have > before {
			attempt = 1
		}
		if !isLostConnection(err) || ctx.Err() != nil || attempt == uploadAttempts {
			return nil, r.siteError(err)
		}
		r.info("lost the connection to the controller after %s of the site, continuing", size(have))
		select {
		case <-time.After(r.retryDelay):
		case <-ctx.Done():
		}
	}
}

// sendSite uploads a site over one connection and shows the progress. It returns how
// much of the site the controller has.
func (r *run) sendSite(ctx context.Context, c *client.Client, p *site.Packed) (have uint64, err error) {
	var live *terminal.Live
	if r.progress != nil {
		live = terminal.NewLive(r.progress, r.progressScreen)
		defer live.Clear()
	}
	err = c.UploadSite(ctx, p, client.Transfer{Timeout: r.timeout, Progress: func(at, all uint64) {
		have = at
		if live != nil && at < all {
			live.Update(terminal.Text("Uploading the site: %s of %s", size(at), size(all)))
		}
	}})
	return have, err
}

// size returns a number of bytes for people.
func size(n uint64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// isLostConnection reports whether a request failed because the connection ended, and a
// new connection may help.
func isLostConnection(err error) bool {
	var missing *request.NoResponseError
	return errors.As(err, &missing) && !errors.Is(err, context.DeadlineExceeded) && !isBroken(err)
}

// siteError returns the error to print for a failed transfer of a site.
func (r *run) siteError(err error) error {
	var missing *request.NoResponseError
	switch {
	case errors.Is(err, client.ErrUnsupported):
		return r.unsupported("sites")
	case errors.As(err, &missing):
		return errors.New("no response received: " + r.noResponseReason(missing.Err))
	}
	return requestError(err, "site")
}

// siteDiff is the difference between the sites of two configurations.
type siteDiff struct {
	from, to string // IDs, "" for none
	files    []site.Change
}

// compareSites compares the site of the deployed configuration with that of another
// one. It returns nil if they are equal.
func (r *run) compareSites(ctx context.Context, c *client.Client, config zeekapi.Configuration) (*siteDiff, error) {
	deployed, err := askOn(ctx, r, c, getConfiguration(true))
	if _, refused := refusal(err); err != nil && !refused && !errors.Is(err, client.ErrNoData) {
		return nil, err
	}
	d := &siteDiff{from: deployed.Site, to: config.Site}
	if d.from == d.to {
		return nil, nil
	}
	temp, err := os.MkdirTemp("", "zeekwire-diff-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	old, err := r.siteDirectory(ctx, c, d.from, filepath.Join(temp, "old"))
	if err != nil {
		return nil, err
	}
	new, err := r.siteDirectory(ctx, c, d.to, filepath.Join(temp, "new"))
	if err != nil {
		return nil, err
	}
	d.files, err = site.Diff(old, new, r.tool.siteLimits())
	return d, err
}

// siteDirectory returns a directory with a site: that of the cluster file if it is the
// same one, and otherwise dir, to which it downloads the site. It returns "" for no
// site.
func (r *run) siteDirectory(ctx context.Context, c *client.Client, id, dir string) (string, error) {
	switch {
	case id == "":
		return "", nil
	case r.site.is(id):
		return r.site.dir, nil
	}
	var packed bytes.Buffer
	if err := c.DownloadSite(ctx, id, io.Writer(&packed), client.Transfer{Timeout: r.timeout, Limits: r.tool.siteLimits()}); err != nil {
		return "", r.siteError(err)
	}
	return dir, site.Unpack(&packed, id, dir, r.tool.siteLimits())
}

// lines returns the difference as text.
func (d *siteDiff) lines() []terminal.Line {
	short := func(id string) string { return orNone(id[:min(12, len(id))]) }
	lines := []terminal.Line{{
		{Text: "~ site ", Style: terminal.Warn}, {Text: short(d.from), Style: terminal.Bad}, cell(" -> "), {Text: short(d.to), Style: terminal.Good},
	}}
	for _, f := range d.files {
		sign, style := "~", terminal.Warn
		switch f.Kind {
		case site.Added:
			sign, style = "+", terminal.Good
		case site.Removed:
			sign, style = "-", terminal.Bad
		}
		head := terminal.Line{{Text: "  " + sign + " " + f.Path, Style: style}}
		if f.Note != "" {
			head = append(head, cell(": "+f.Note))
		}
		lines = append(lines, head)
		for line := range strings.Lines(f.Text) {
			lines = append(lines, diffTextLine(strings.TrimSuffix(line, "\n")))
		}
	}
	return lines
}

// diffTextLine returns a line of a unified diff.
func diffTextLine(line string) terminal.Line {
	style := terminal.Plain
	switch {
	case strings.HasPrefix(line, "---"), strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "@@"):
		style = terminal.Faint
	case strings.HasPrefix(line, "+"):
		style = terminal.Good
	case strings.HasPrefix(line, "-"):
		style = terminal.Bad
	}
	return terminal.Line{{Text: "    " + line, Style: style}}
}

type siteDiffView struct {
	From  *string        `json:"from"`
	To    *string        `json:"to"`
	Files []siteFileView `json:"files"`
}

type siteFileView struct {
	Path string  `json:"path"`
	Kind string  `json:"kind"`
	Diff *string `json:"diff"`
	Note *string `json:"note"`
}

func newSiteDiffView(d *siteDiff) *siteDiffView {
	if d == nil {
		return nil
	}
	return &siteDiffView{orNull(d.from), orNull(d.to), list(d.files, func(c site.Change) siteFileView {
		return siteFileView{c.Path, c.Kind, orNull(c.Text), orNull(c.Note)}
	})}
}
