package zeek

import (
	"os"
	"path/filepath"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
)

const (
	// maxOutput is the default of Config.MaxOutput.
	maxOutput = 8 << 20

	// keptPart is the divisor of Config.MaxOutput for the size of the end that is kept.
	keptPart = 8

	// cutInterval is the time between two checks of the file sizes.
	cutInterval = time.Second
)

// cutSuffix is the suffix of the file with the end of an output from before it was last
// cut.
const cutSuffix = ".old"

// cutOutputs limits the sizes of the nodes' outputs until the launcher closes. It logs
// only the first error.
func (l *Launcher) cutOutputs() {
	ticker := time.NewTicker(cutInterval)
	defer ticker.Stop()
	logged := false
	for {
		for _, name := range l.names() {
			for _, file := range []string{l.config.StdoutFile, l.config.StderrFile} {
				if err := l.cut(filepath.Join(l.nodeDir(name), file)); err != nil && !logged {
					logged = true
					l.config.Log.Warn().Err(err).Str("node", name).Msg("cannot cut the output of a node; further errors are not logged")
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

// cut truncates an output that exceeds the limit, and keeps its end in another file.
// Output that the node writes during the cut is lost.
func (l *Launcher) cut(name string) error {
	info, err := os.Stat(name)
	if err != nil || info.Size() <= l.config.MaxOutput {
		return nil // missing or small enough
	}
	end, err := tailfile.Read(name, int(l.config.MaxOutput/keptPart))
	if err != nil {
		return err
	}
	keep := func() error { return os.WriteFile(name+cutSuffix, end, 0o666) }
	kept := keep()
	if err := os.Truncate(name, 0); err != nil {
		return err
	}
	if kept != nil { // the disk was full, and now has free space
		kept = keep()
	}
	return kept
}
