package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi/zeekconf"
	"github.com/zeekwire/zeekwire/zeekapi/zeekctl"
)

// The names of ZeekControl's files.
const (
	nodesName    = "node.cfg"
	optionsName  = "zeekctl.cfg"
	networksName = "networks.cfg"
)

// Import reads a configuration and returns the plan for the same cluster. The paths are
// the files, or the directory, of ZeekControl or of zeek.conf. The installation of Zeek
// is in the directory base; if that is "", it is the one that contains the files.
//
// The error is of type configparser.Errors if the content of a file is refused.
func Import(paths []string, base string) (*Plan, error) {
	files, err := expand(paths)
	if err != nil {
		return nil, err
	}
	confs, controls := 0, 0
	for _, name := range files {
		if isControl(name) {
			controls++
		} else {
			confs++
		}
	}
	switch {
	case confs > 0 && controls > 0:
		return nil, errors.New("these are files of ZeekControl and of zeek.conf; import the files of one cluster at a time")
	case controls > 0:
		return importControl(files, base)
	}
	return importConf(files, base)
}

// isControl reports whether a file is one of ZeekControl: by its name, or because it
// looks like a node.cfg.
func isControl(name string) bool {
	base := filepath.Base(name)
	for _, known := range []string{nodesName, optionsName, networksName} {
		if base == known {
			return true
		}
	}
	if strings.HasSuffix(base, "zeek.conf") {
		return false
	}
	text, err := readFile(name)
	return err == nil && looksLikeNodes(text)
}

// looksLikeNodes reports whether a text has a node with a type, as a node.cfg has, and
// as no zeek.conf can have.
func looksLikeNodes(text []byte) bool {
	for line := range bytes.Lines(text) {
		key, _, ok := bytes.Cut(bytes.TrimSpace(line), []byte("="))
		if ok && string(bytes.ToLower(bytes.TrimSpace(key))) == "type" {
			return true
		}
	}
	return false
}

// maxFiles limits the number of files.
const maxFiles = 10_000

// expand returns the files that paths stand for.
func expand(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, err
		case info.IsDir():
			found, err := expandDir(path)
			if err != nil {
				return nil, err
			}
			files = append(files, found...)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a file", path)
		default:
			files = append(files, path)
		}
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("%d files, limit is %d", len(files), maxFiles)
	}
	return files, nil
}

// expandDir returns the files of a directory.
func expandDir(dir string) ([]string, error) {
	if isFile(dir, nodesName) {
		files := []string{filepath.Join(dir, nodesName)}
		for _, name := range []string{optionsName, networksName} {
			if isFile(dir, name) {
				files = append(files, filepath.Join(dir, name))
			}
		}
		return files, nil
	}
	single, several := isFile(dir, "zeek.conf"), clusterFiles(dir)
	if len(several) == 0 {
		several = clusterFiles(filepath.Join(dir, "cluster"))
	}
	switch {
	case single && len(several) > 0:
		return nil, fmt.Errorf("%s has a zeek.conf, and files of several machines such as %s: name the file, or the directory with the others", dir, several[0])
	case single:
		return []string{filepath.Join(dir, "zeek.conf")}, nil
	case len(several) > 0:
		return several, nil
	}
	return nil, fmt.Errorf("%s has no %s, no zeek.conf and no HOST.zeek.conf", dir, nodesName)
}

func isFile(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}

// clusterFiles returns the files HOST.zeek.conf of a directory, sorted by name.
func clusterFiles(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var files []string
	for _, e := range entries {
		if zeekconf.IsClusterFile(e.Name()) && isFile(dir, e.Name()) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files
}

// maxFileSize limits the size of a file; the parsers refuse larger ones.
const maxFileSize = 2 << 20

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize))
}

// installation returns the directory of the installation that contains a file in one of
// the directories below it, or "".
func installation(file string, dirs ...string) string {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return ""
	}
	for _, below := range dirs {
		if prefix, ok := strings.CutSuffix(dir, "/"+below); ok && prefix != "" {
			return prefix
		}
	}
	return ""
}

func importConf(files []string, base string) (*Plan, error) {
	var configs []*zeekconf.Config
	var errs []error
	for _, name := range files {
		text, err := readFile(name)
		if err != nil {
			return nil, err
		}
		c, err := zeekconf.Parse(name, bytes.NewReader(text))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		configs = append(configs, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, c := range configs {
		if len(configs) > 1 && c.Host == "" {
			return nil, fmt.Errorf("%s: files of several machines have names of the form HOST.zeek.conf", c.File)
		}
	}
	if err := zeekconf.CheckCluster(filepath.Dir(files[0]), configs); err != nil {
		return nil, err
	}
	if base == "" {
		base = installation(files[0], "etc/zeek", "etc/zeek/cluster")
	}
	return zeekConf(configs, base)
}

func importControl(names []string, base string) (*Plan, error) {
	var files zeekControlFiles
	for _, name := range names {
		into := &files.nodesFile
		switch filepath.Base(name) {
		case optionsName:
			into = &files.optionsFile
		case networksName:
			into = &files.networksFile
		}
		if *into != "" {
			return nil, fmt.Errorf("%s and %s are the same file of ZeekControl for different clusters; import one cluster at a time", *into, name)
		}
		*into = name
	}
	if files.nodesFile == "" {
		return nil, fmt.Errorf("%s is missing: it has the nodes of the cluster", filepath.Join(filepath.Dir(names[0]), nodesName))
	}
	if err := files.read(); err != nil {
		return nil, err
	}
	if base == "" {
		base = installation(files.nodesFile, "etc")
	}
	return zeekControl(files, base)
}

// read parses the files, and reports the errors of all of them.
func (f *zeekControlFiles) read() error {
	var errs []error
	parse := func(name string, parse func(r io.Reader) error) {
		if name == "" {
			return
		}
		text, err := readFile(name)
		if err == nil {
			err = parse(bytes.NewReader(text))
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	parse(f.optionsFile, func(r io.Reader) (err error) {
		f.options, err = zeekctl.ParseOptions(f.optionsFile, r)
		return err
	})
	parse(f.networksFile, func(r io.Reader) (err error) {
		f.networks, err = zeekctl.ParseNetworks(f.networksFile, r)
		return err
	})
	parse(f.nodesFile, func(r io.Reader) (err error) {
		f.nodes, f.warnings, err = zeekctl.ParseNodes(f.nodesFile, r, f.options)
		return err
	})
	return errors.Join(errs...)
}
