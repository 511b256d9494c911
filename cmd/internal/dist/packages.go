package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// maintainer is responsible for the packages.
const maintainer = "The zeekwire authors <zeekwire@users.noreply.github.com>"

// files contains files for packages alone: the description of a package for nfpm,
// the scripts that dpkg and rpm run, and the file for systemd-tmpfiles.
//
//go:embed files
var files embed.FS

// ownDirectories are those that have nothing of other packages.
var ownDirectories = []string{
	"/usr/libexec/zeekwire", "/usr/share/licenses/zeekwire",
	"/usr/share/doc/zeekwire", "/usr/share/doc/zeekwire/docs", "/usr/share/doc/zeekwire/docs/howto", "/usr/share/doc/zeekwire/docs/reference",
}

// systemd returns the directory of the files for systemd.
func (r *release) systemd() string { return filepath.Join(r.root, "cmd/zeekwire/systemd") }

// staged returns the directory of files that differ between packages and the
// checkout.
func (r *release) staged() string { return filepath.Join(r.work, "staged") }

// stage writes the staged files: units with the path of the program in packages,
// compressed manual pages and changelogs, and the embedded files.
func (r *release) stage() error {
	if err := os.CopyFS(r.staged(), files); err != nil {
		return err
	}
	for _, unit := range []string{"zeekwire-agent.service", "zeekwire-controller.service", "zeekwire-gateway.service"} {
		content, err := os.ReadFile(filepath.Join(r.systemd(), unit))
		if err != nil {
			return err
		}
		content = bytes.ReplaceAll(content, []byte("/usr/local/bin/"), []byte("/usr/bin/"))
		if err := os.WriteFile(filepath.Join(r.staged(), unit), content, 0o644); err != nil {
			return err
		}
	}
	pages, err := filepath.Glob(filepath.Join(r.generated(), "man", "*"))
	if err != nil {
		return err
	}
	for _, file := range append(pages, filepath.Join(r.root, "CHANGELOG.md")) {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := r.compress(filepath.Base(file), content); err != nil {
			return err
		}
	}
	return r.compress("changelog.Debian", r.changelog())
}

// changelog returns the changelog of the package in Debian's format. It refers to
// the changelog of the programs.
func (r *release) changelog() []byte {
	return fmt.Appendf(nil, "zeekwire (%s-1) unstable; urgency=medium\n\n  * Release %s. Its changes are in changelog.gz.\n\n -- %s  %s\n",
		strings.TrimPrefix(r.version, "v"), r.version, maintainer, r.time.Format(time.RFC1123Z))
}

// compress writes compressed content to a staged file, without a name or time in
// the format's header.
func (r *release) compress(name string, content []byte) error {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.staged(), name+".gz"), out.Bytes(), 0o644)
}

// packages makes the packages for a platform.
func (r *release) packages(ctx context.Context, p platform) error {
	for _, kind := range []string{"deb", "rpm"} {
		config := filepath.Join(r.work, p.arch+"."+kind+".yaml")
		if err := r.describe(config, p, kind); err != nil {
			return err
		}
		if _, err := r.command(ctx, p, r.tool("nfpm"), "package", "--config", config, "--packager", kind, "--target", r.output+"/"); err != nil {
			return err
		}
	}
	return nil
}

// describe writes the description of a package for nfpm.
func (r *release) describe(config string, p platform, kind string) error {
	functions := template.FuncMap{
		"base": filepath.Base,
		"dirs": func() []string { return ownDirectories },
		"glob": func(dir, pattern string) ([]string, error) { return filepath.Glob(filepath.Join(dir, pattern)) },
	}
	description, err := template.New("nfpm.yaml.tmpl").Funcs(functions).ParseFS(files, "files/nfpm.yaml.tmpl")
	if err != nil {
		return err
	}
	doc := "" // nfpm omits documents from a deb
	if kind == "rpm" {
		doc = "type: doc, "
	}
	var out bytes.Buffer
	err = description.Execute(&out, map[string]string{
		"Maintainer": maintainer,
		"Version":    strings.TrimPrefix(r.version, "v"),
		"Arch":       p.arch,
		"Time":       r.time.Format(time.RFC3339),
		"Doc":        doc,
		"Root":       r.root,
		"Bin":        r.bin(p),
		"Generated":  r.generated(),
		"Staged":     r.staged(),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(config, out.Bytes(), 0o644)
}
