package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// revokedInterval is the time after which a service looks for changes to its lists of
// revoked certificates.
const revokedInterval = 5 * time.Second

// revokedWatch reloads certificates when any program has changed a list of revoked
// certificates. A reload closes the connections with a certificate in the list.
type revokedWatch struct {
	reload func() error
	log    zerolog.Logger

	files   []string
	seen    map[string]fs.FileInfo // of the last reload; nil before the first look
	failure string                 // of the last reload, "" if it succeeded
}

// newRevokedWatch returns a watch of some files, of which empty names are ignored.
func newRevokedWatch(reload func() error, log zerolog.Logger, files ...string) *revokedWatch {
	return &revokedWatch{reload: reload, log: log, files: slices.DeleteFunc(files, func(name string) bool { return name == "" })}
}

// run looks at the files until ctx ends.
func (w *revokedWatch) run(ctx context.Context) {
	if len(w.files) == 0 {
		return
	}
	ticker := time.NewTicker(revokedInterval)
	defer ticker.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reloads if a file has changed since the last reload. The first look always does,
// because the service may have read the files earlier. A reload that fails, perhaps
// because another program still writes a file, is repeated at each look; the log has
// each reason once.
func (w *revokedWatch) look() {
	now := make(map[string]fs.FileInfo)
	for _, name := range w.files {
		now[name], _ = os.Stat(name) // nil, which the reload reports
	}
	if w.seen != nil && w.failure == "" && maps.EqualFunc(now, w.seen, sameFile) {
		return
	}
	first := w.seen == nil
	w.seen = now
	if err := w.reload(); err != nil {
		if w.failure != err.Error() {
			w.log.Error().Err(err).Msg("cannot reload the list of revoked certificates, the earlier one stays in force")
		}
		w.failure = err.Error()
		return
	}
	w.failure = ""
	if !first {
		w.log.Info().Msg("the list of revoked certificates was reloaded")
	}
}

// sameFile reports whether a file is unchanged.
func sameFile(x, y fs.FileInfo) bool {
	if x == nil || y == nil {
		return x == y
	}
	return os.SameFile(x, y) && x.ModTime().Equal(y.ModTime()) && x.Size() == y.Size()
}
