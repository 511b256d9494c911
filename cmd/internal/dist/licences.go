package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// licenceFile matches the names of files with conditions for copying.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// licences returns the licences of Go and of all modules in the programs, on any
// platform, as one text. A module without a licence is an error.
func (r *release) licences(ctx context.Context) ([]byte, error) {
	goInfo, err := execute(ctx, r.root, nil, "go", "env", "GOVERSION", "GOROOT")
	if err != nil {
		return nil, err
	}
	goVersion, goRoot, _ := strings.Cut(goInfo, "\n")
	directories := map[string]string{"Go " + goVersion: goRoot}
	for _, p := range platforms {
		if err := r.dependencies(ctx, p, directories); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Keys(directories))
	var out bytes.Buffer
	fmt.Fprintf(&out, "The programs of zeekwire contain parts of the following works.\n\n%s\n", strings.Join(names, "\n"))
	for _, name := range names {
		if err := appendLicences(&out, name, directories[name]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

// dependencies adds the modules in the programs for a platform to directories,
// by name and version.
func (r *release) dependencies(ctx context.Context, p platform, directories map[string]string) error {
	format := "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}"
	list, err := r.command(ctx, p, "go", append([]string{"list", "-deps", "-f", format}, sources()...)...)
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			directories[name] = dir
		}
	}
	return nil
}

// appendLicences appends the licences in a directory, with a title each.
func appendLicences(out *bytes.Buffer, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = true
		fmt.Fprintf(out, "\n%s\n%s, %s\n\n%s\n", strings.Repeat("=", 78), name, e.Name(), bytes.TrimSpace(content))
	}
	if !found {
		return fmt.Errorf("%s has no licence in %s", name, dir)
	}
	return nil
}
