package zeek

import (
	"os"
	"path/filepath"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
)

// How large the files with a node's outputs may get unless Config.MaxOutput
// says otherwise, the part of that which is kept when they are cut, and how
// often they are looked at.
const (
	maxOutput   = 8 << 20
	keptPart    = 8
	cutInterval = time.Second
)

// cutSuffix is the suffix of the file with the end of an output when it was last
// cut.
const cutSuffix = ".old"

// cutOutputs keeps the outputs of nodes from filling the disk, until the
// launcher closes.
func (l *Launcher) cutOutputs() {
	ticker := time.NewTicker(cutInterval)
	defer ticker.Stop()
	complained := false
	for {
		for _, name := range l.names() {
			for _, file := range []string{l.config.StdoutFile, l.config.StderrFile} {
				if err := l.cut(filepath.Join(l.nodeDir(name), file)); err != nil && !complained {
					complained = true
					l.config.Log.Warn().Err(err).Str("node", name).Msg("cannot shorten the output of a node; further such failures are not logged")
				}
			}
		}
		select {
		case <-ticker.C:
		case <-l.closing.Done():
			return
		}
	}
}

// cut makes an output that is too large empty, and keeps its end in another
// file. Somebody may be writing to it; what comes in just that moment is lost.
func (l *Launcher) cut(name string) error {
	info, err := os.Stat(name)
	if err != nil || info.Size() <= l.config.MaxOutput {
		return nil // without the file there is nothing to cut
	}
	end, err := tailfile.Read(name, int(l.config.MaxOutput/keptPart))
	if err != nil {
		return err
	}
	keep := func() error { return os.WriteFile(name+cutSuffix, end, 0o600) }
	kept := keep()
	if err := os.Truncate(name, 0); err != nil {
		return err
	}
	if kept != nil { // a full disk has room now
		kept = keep()
	}
	return kept
}
