package admission

import (
	"log"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// pace limits the lines of one kind: burst lines at once, and one for each interval in the
// long run.
type pace struct {
	burst    int
	interval time.Duration
}

// Paces of lines about strangers, and of those about peers that come or go, of which a
// cluster can have thousands.
var (
	rarely = pace{burst: 5, interval: 10 * time.Second}
	often  = pace{burst: 1000, interval: 200 * time.Millisecond}
)

// Notices logs events that strangers can cause as often as they like. It limits
// the lines of each kind, and counts the others. Its methods may be called
// concurrently. Create it with NewNotices.
type Notices struct {
	log zerolog.Logger

	mu    sync.Mutex
	kinds map[string]*notice
}

type notice struct {
	full       time.Time // when the burst is available again
	suppressed int       // since the last line
}

// NewNotices returns a Notices that writes to log.
func NewNotices(log zerolog.Logger) *Notices {
	return &Notices{log: log, kinds: make(map[string]*notice)}
}

// Warn is Log at warning level.
func (n *Notices) Warn(kind string) *zerolog.Event { return n.Log(zerolog.WarnLevel, kind) }

// Log begins a line of a kind, which must be a constant. It returns nil, which
// zerolog ignores, if there have been too many. A line says how many lines were
// suppressed before it.
func (n *Notices) Log(level zerolog.Level, kind string) *zerolog.Event {
	return n.paced(rarely, level, kind)
}

// Peers is Log for kinds of which a thousand lines at once are normal, such as about peers
// that connect.
func (n *Notices) Peers(level zerolog.Level, kind string) *zerolog.Event {
	return n.paced(often, level, kind)
}

func (n *Notices) paced(p pace, level zerolog.Level, kind string) *zerolog.Event {
	suppressed, ok := n.allow(p, kind, time.Now())
	if !ok {
		return nil
	}
	e := n.log.WithLevel(level)
	if suppressed > 0 {
		e = e.Int("suppressed", suppressed)
	}
	return e
}

// Logger returns a logger whose lines are of a kind, at info level, for the ErrorLog
// of an http.Server.
func (n *Notices) Logger(kind string) *log.Logger { return log.New(lines{n, kind}, "", 0) }

type lines struct {
	notices *Notices
	kind    string
}

func (l lines) Write(line []byte) (int, error) {
	l.notices.Log(zerolog.InfoLevel, l.kind).Msg(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// allow reports whether a line of a kind may be written, and how many were
// suppressed since the last one.
func (n *Notices) allow(p pace, kind string, now time.Time) (suppressed int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.kinds[kind]
	if k == nil {
		k = new(notice)
		n.kinds[kind] = k
	}
	if k.full.Before(now) {
		k.full = now
	}
	if k.full.Sub(now) > time.Duration(p.burst-1)*p.interval {
		k.suppressed++
		return 0, false
	}
	k.full = k.full.Add(p.interval)
	suppressed, k.suppressed = k.suppressed, 0
	return suppressed, true
}
