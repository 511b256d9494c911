package agent

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// leftoverAge is the time since the last change after which something may be removed.
const leftoverAge = time.Hour

// maxLeftovers limits the leftovers in a response.
const maxLeftovers = 10_000

// cleanup serves a request to remove what is no longer needed.
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
	finished := func(r zeekapi.Result) Input {
		r.ReqID, r.Instance = out.ReqID, p.Settings.Name
		return Finished{out.Dialect, zeekapi.AgentCleanupCall.Respond(out.ReqID, r)}
	}
	before := time.Now().Add(-leftoverAge)
	begun := p.workers.Do(func() Input {
		found := p.leftovers(out, before)
		return finished(zeekapi.Result{Success: true, Data: mustMarshal(found)})
	})
	if !begun {
		return []Input{finished(zeekapi.Result{Error: errorBusy})}
	}
	return nil
}

// leftovers returns what is no longer needed, and removes it unless the request is a dry
// run.
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
			err = p.sites.store.Keep(out.Sites, siteGrace)
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

// leftovers returns the files of writes that did not end, which have names such as
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
