package agent

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// maxDeathOutput limits the standard error that is kept of each death, in bytes.
const maxDeathOutput = 8 << 10

// record stores the death of a node.
func (ns *nodes) record(now time.Time, n *node, begun bool, err error, outputs zeekapi.NodeOutputs) {
	d := zeekapi.NodeDeath{Time: now, Reason: err.Error(), Signal: signalOf(err), Stderr: shorten(outputs, maxDeathOutput).Stderr}
	if begun && !n.started.IsZero() {
		d.Ran = max(0, now.Sub(n.started))
	}
	ns.emit(Record{Node: n.want.Name, Death: d})
}

// signalOf returns the name of the signal that ended a process, or "".
func signalOf(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return ""
	}
	return unix.SignalName(status.Signal())
}

// savedDeaths is the content of the file with the deaths of a node, the newest first.
type savedDeaths struct {
	Version int                 `json:"version"`
	Deaths  []zeekapi.NodeDeath `json:"deaths"`
}

const deathsVersion = 1

func (f stateFiles) deathsFile(node string) string { return filepath.Join(f.deaths, node+".json") }

// recordDeath stores a death, and forgets the oldest if there are too many.
func (f stateFiles) recordDeath(node string, d zeekapi.NodeDeath) error {
	if f.deaths == "" {
		return nil
	}
	former, err := f.deathsOf(node)
	if err != nil {
		former = nil // the file is damaged
	}
	deaths := slices.Insert(former, 0, d)
	return write(f.deathsFile(node), savedDeaths{deathsVersion, deaths[:min(len(deaths), zeekapi.MaxNodeDeaths)]})
}

// deathsOf returns the deaths of a node, the newest first.
func (f stateFiles) deathsOf(node string) ([]zeekapi.NodeDeath, error) {
	if f.deaths == "" {
		return nil, nil
	}
	var s savedDeaths
	known, err := read(f.deathsFile(node), &s)
	if err == nil && known {
		err = wantVersion(f.deathsFile(node), s.Version, deathsVersion, deathsVersion)
	}
	return s.Deaths, err
}
