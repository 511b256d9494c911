package site

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Plugin is a compiled plugin in a site. It runs only on machines with the
// architecture and the version of Zeek that it was built for.
type Plugin struct {
	Path string // of the directory, relative to the site
	Name string // as the plugin calls itself, such as "Corelight::AF_Packet"

	// Libraries are the compiled parts, sorted by path.
	Libraries []Library
}

// Library is a shared library of a plugin.
type Library struct {
	Path    string      // relative to the site
	Machine elf.Machine // the architecture; elf.EM_NONE if unknown
	Zeek    string      // version of Zeek it was built for, such as "8.0.1"; "" if unknown
}

// pluginFiles are the names of the file that makes a directory a plugin, which
// contains its name. Zeek before 4.0 had the second one.
var pluginFiles = []string{"__zeek_plugin__", "__bro_plugin__"}

// maxLibrary is the size of the largest library that Plugins reads, in bytes.
const maxLibrary = 128 << 20

// Plugins returns the compiled plugins in the directory of a site, sorted by path.
// Plugins that consist of scripts only are left out, because they run anywhere.
func Plugins(dir string, limits Limits) ([]Plugin, error) {
	limits, err := limits.complete()
	if err != nil {
		return nil, err
	}
	t, err := openTree(dir, limits)
	if err != nil {
		return nil, err
	}
	defer t.close()
	var all []Plugin
	for _, e := range t.entries {
		if !isFile(e) || !slices.Contains(pluginFiles, path.Base(e.Path)) {
			continue
		}
		p := Plugin{Path: path.Dir(e.Path), Name: t.firstLine(e)}
		for _, lib := range t.entries {
			if isFile(lib) && path.Dir(lib.Path) == path.Join(p.Path, "lib") && isLibrary(lib.Path) {
				p.Libraries = append(p.Libraries, t.library(lib))
			}
		}
		if len(p.Libraries) > 0 {
			all = append(all, p)
		}
	}
	return all, nil
}

func isLibrary(name string) bool { return path.Ext(name) == ".so" || path.Ext(name) == ".dylib" }

// firstLine returns the first line of a small file, or "".
func (t *tree) firstLine(e Entry) string {
	if e.Size > 4<<10 {
		return ""
	}
	text, err := content(t.root, e)
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return strings.TrimSpace(string(line))
}

// library reads what a library was built for. Nothing is known of one that is no
// valid ELF file.
func (t *tree) library(e Entry) Library {
	lib := Library{Path: e.Path}
	if e.Size > maxLibrary {
		return lib
	}
	f, err := t.root.Open(e.Path)
	if err != nil {
		return lib
	}
	defer f.Close()
	lib.Machine, lib.Zeek = builtFor(f)
	return lib
}

func builtFor(r io.ReaderAt) (machine elf.Machine, zeek string) {
	defer func() {
		// Package elf does not promise to withstand hostile files.
		if recover() != nil {
			machine, zeek = elf.EM_NONE, ""
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return elf.EM_NONE, ""
	}
	symbols, _ := f.DynamicSymbols()
	for _, s := range symbols {
		if v := zeekVersion(s.Name); v != "" {
			return f.Machine, v
		}
	}
	return f.Machine, ""
}

// zeekVersion returns the version in the name of the function by which a plugin
// tells the version of Zeek it was built for, such as zeek_version_8_0_1_plugin_9
// or zeek_version_9_1_0_dev_96_plugin_10_debug. It returns "" for other functions.
func zeekVersion(symbol string) string {
	version, ok := strings.CutPrefix(symbol, "zeek_version_")
	if !ok {
		return ""
	}
	version, _, ok = strings.Cut(version, "_plugin_")
	if !ok {
		return ""
	}
	parts := strings.Split(version, "_")
	n := min(3, len(parts))
	version = strings.Join(parts[:n], ".")
	if len(parts) > n {
		version += "-" + strings.Join(parts[n:], ".")
	}
	return version
}

// MachineName returns the name of an architecture, such as "x86_64".
func MachineName(m elf.Machine) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// String describes the plugin and what it was built for.
func (p Plugin) String() string {
	name := p.Name
	if name == "" {
		name = p.Path
	}
	var targets []string
	for _, l := range p.Libraries {
		zeek, machine := "an unknown version of Zeek", "an unknown architecture"
		if l.Zeek != "" {
			zeek = "Zeek " + l.Zeek
		}
		if l.Machine != elf.EM_NONE {
			machine = MachineName(l.Machine)
		}
		if text := zeek + " on " + machine; !slices.Contains(targets, text) {
			targets = append(targets, text)
		}
	}
	return fmt.Sprintf("plugin %s (%s), built for %s", name, p.Path, strings.Join(targets, ", "))
}
