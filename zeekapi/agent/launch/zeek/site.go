package zeek

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// shortSite is the number of characters of a site's hash in messages.
const shortSite = 12

// siteDir returns the directory of a node's site.
func (l *Launcher) siteDir(n launch.Node) string { return filepath.Join(l.config.SitesDir, n.Site) }

// checkSite returns an error if a node has a site that it cannot use.
func (l *Launcher) checkSite(n launch.Node) error {
	if n.Site == "" {
		return nil
	}
	short := n.Site[:min(shortSite, len(n.Site))]
	if !isHash(n.Site) {
		return fmt.Errorf("%q does not name a site", short)
	}
	missing := fmt.Errorf("site %s is not on this machine", short)
	if l.config.SitesDir == "" {
		return missing
	}
	if info, err := os.Stat(l.siteDir(n)); err != nil || !info.IsDir() {
		return missing
	}
	if strings.Contains(l.siteDir(n), ":") {
		return fmt.Errorf("site %s cannot be used: its directory %s has a colon, which separates directories in ZEEKPATH", short, l.siteDir(n))
	}
	if cmp.Or(n.Env["ZEEKPATH"], l.zeek().path) == "" {
		return fmt.Errorf("site %s cannot be used: the ZEEKPATH of %s is unknown, because there is no zeek-config; set ZEEKPATH", short, l.zeek().binary)
	}
	return nil
}

// isHash reports whether a text consists of lower-case hexadecimal digits.
func isHash(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// searchPath returns the directories in which a node finds scripts, apart from its own
// directory, as in ZEEKPATH. It is "" if that is up to Zeek.
func (l *Launcher) searchPath(n launch.Node) string {
	path := cmp.Or(n.Env["ZEEKPATH"], l.zeek().path)
	if n.Site != "" {
		path = l.siteDir(n) + ":" + path
	}
	return path
}

// sitePaths returns the environment variables that a node with a site needs. The node's
// own directory, which has the layout of the cluster, comes before the site.
func (l *Launcher) sitePaths(n launch.Node) map[string]string {
	if n.Site == "" {
		return nil
	}
	paths := map[string]string{"ZEEKPATH": ".:" + l.searchPath(n)}
	if l.plugins.in(l.siteDir(n)) {
		paths["ZEEK_PLUGIN_PATH"] = l.siteDir(n)
		if path := cmp.Or(n.Env["ZEEK_PLUGIN_PATH"], os.Getenv("ZEEK_PLUGIN_PATH"), l.zeek().plugins); path != "" {
			paths["ZEEK_PLUGIN_PATH"] += ":" + path
		}
	}
	return paths
}

// pluginSites remembers which sites contain plugins of Zeek. The content of a site does
// not change.
type pluginSites struct {
	mu    sync.Mutex
	sites map[string]bool // by directory
}

const maxPluginSites = 1000

func (p *pluginSites) in(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	has, ok := p.sites[dir]
	if !ok {
		if p.sites == nil || len(p.sites) >= maxPluginSites {
			p.sites = make(map[string]bool)
		}
		has = hasPlugin(dir)
		p.sites[dir] = has
	}
	return has
}

// hasPlugin reports whether a directory contains a plugin of Zeek
// (Zeek: plugin::Manager::SearchDynamicPlugins).
func hasPlugin(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error { // what cannot be read is no plugin for Zeek either
		if err == nil && (entry.Name() == "__bro_plugin__" || entry.Name() == "__zeek_plugin__") {
			found = true
			return filepath.SkipAll
		}
		return nil
	})
	return found
}
