package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// leftoverAge is the minimum time since the last change of a file that may be removed.
const leftoverAge = time.Hour

// maxLeftovers limits the leftovers in a response.
const maxLeftovers = 10_000

// cleanup serves a request to remove leftovers: files that are no longer needed.
func (m *Machine) cleanup(_ time.Time, req request, msg zeekapi.AgentCleanupRequest) {
	switch why := m.refusesSlow(req); {
	case why != "":
		m.out.refuse(req, "%s", why)
		return
	case m.target.lost != "":
		m.out.refuse(req, "%s", m.target.lost)
		return
	}
	needed := slices.Collect(maps.Keys(m.nodes.all))
	needed = append(needed, msg.Keep...)
	slices.Sort(needed)
	m.slow++
	m.out.emit(Cleanup{Dialect: req.dialect, ReqID: req.id, Nodes: slices.Compact(needed), Sites: m.sites.current(), DryRun: msg.DryRun})
}

// cleanup performs Cleanup. It may remove large directories, so the loop does not wait.
func (p *performer) cleanup(out Cleanup) []Input {
	before := time.Now().Add(-leftoverAge)
	return p.finishLater(out.Dialect, zeekapi.AgentCleanupCall.Request, zeekapi.Result{ReqID: out.ReqID}, func() (any, error) {
		return p.leftovers(out, before), nil
	})
}

// leftovers returns the leftovers, and removes them unless the request is a dry run.
func (p *performer) leftovers(out Cleanup, before time.Time) []zeekapi.Leftover {
	needed := func(node string) bool {
		_, found := slices.BinarySearch(out.Nodes, node)
		return found
	}
	found := append([]zeekapi.Leftover{}, p.files.leftovers(before)...)
	if p.sites.store != nil {
		found = append(found, p.sites.store.Unused(out.Sites, siteGrace)...)
	}
	cleaner, ok := p.Launcher.(launch.Cleaner)
	if ok {
		found = append(found, cleaner.Leftovers(needed, before)...)
	}
	slices.SortFunc(found, func(a, b zeekapi.Leftover) int { return strings.Compare(a.Path, b.Path) })
	found = found[:min(len(found), maxLeftovers)]
	removeSites := sync.OnceValue(func() error { return p.sites.store.Keep(out.Sites, siteGrace) }) // all of them
	for i := range found {
		l := &found[i]
		if out.DryRun || l.Error != "" {
			continue
		}
		var err error
		switch l.Kind {
		case zeekapi.LeftoverTemp:
			err = os.Remove(l.Path)
		case zeekapi.LeftoverSite:
			err = removeSites()
		default:
			err = cleaner.Remove(*l, needed, before)
		}
		if err != nil {
			l.Error = err.Error()
		}
		p.Log.Info().Str("path", l.Path).Str("kind", l.Kind).Uint64("bytes", l.Bytes).AnErr("error", err).Msg("removing what is no longer needed")
	}
	return found
}

// leftovers returns the temporary files of interrupted writes, which have names such as
// ".NAME.json.123".
func (f stateFiles) leftovers(before time.Time) []zeekapi.Leftover {
	if f.assignment == "" {
		return nil
	}
	var found []zeekapi.Leftover
	for _, file := range []string{f.assignment, f.nodes} {
		entries, _ := os.ReadDir(filepath.Dir(file)) // it need not exist
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !strings.HasPrefix(e.Name(), "."+filepath.Base(file)+".") || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
				continue
			}
			found = append(found, zeekapi.Leftover{
				Path: filepath.Join(filepath.Dir(file), e.Name()), Kind: zeekapi.LeftoverTemp, Bytes: uint64(info.Size()), Since: info.ModTime(),
			})
		}
	}
	return found
}
