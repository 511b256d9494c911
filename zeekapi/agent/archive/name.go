package archive

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rotated is the information in the name of a rotated log, such as
//
//	conn__2026-11-22-09-00-00__2026-11-22-10-00-00__.log
//	conn__2026-11-22-09-00-00__2026-11-22-10-00-00__log_suffix=logger-1,pid=4711__.log
//
// (Zeek: archiver_rotation_format_func; zeek-archiver)
type rotated struct {
	log         string // path of the log stream, such as "conn"
	open, close time.Time
	suffix      string // distinguishes several loggers; "" if there is only one
	ext         string // extension from the first dot, such as ".log" or ".log.gz"
}

var rotatedPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.+?)__(\d{4}(?:-\d\d){5})__(\d{4}(?:-\d\d){5})__(?:(.*)__)?((?:\..*)?)$`)
})

// parseName parses a file name. The result ok is false if it is not the name
// of a rotated log.
func parseName(name string) (r rotated, ok bool) {
	m := rotatedPattern().FindStringSubmatch(name)
	if m == nil || strings.HasPrefix(name, ".") {
		return r, false
	}
	const layout = "2006-01-02-15-04-05"
	var errOpen, errClose error
	r.log, r.ext = m[1], m[5]
	r.open, errOpen = time.Parse(layout, m[2])
	r.close, errClose = time.Parse(layout, m[3])
	if errOpen != nil || errClose != nil {
		return r, false
	}
	if m[4] == "" {
		return r, true
	}
	for pair := range strings.SplitSeq(m[4], ",") {
		key, value, found := strings.Cut(pair, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !found || key == "" || value == "" || strings.Contains(value, "=") {
			return r, false
		}
		if key == "log_suffix" {
			r.suffix = value
		}
	}
	return r, true
}

// compressed reports whether the log is compressed already.
func (r rotated) compressed() bool {
	return slices.Contains([]string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip"}, path.Ext(r.ext))
}

// dir returns the name of the directory within the archive.
func (r rotated) dir() string { return r.open.Format("2006-01-02") }

// file returns the name within that directory, for a log that c compresses unless it is
// compressed already. If several logs have the same name, number distinguishes them; it is
// part of the name unless it is 1.
func (r rotated) file(number int, c Compression) string {
	name := r.log + "." + r.open.Format("15:04:05") + "-" + r.close.Format("15:04:05")
	if r.suffix != "" {
		name += "-" + r.suffix
	}
	if number > 1 {
		name += "-" + strconv.Itoa(number)
	}
	name += r.ext
	if !r.compressed() {
		name += c.extension()
	}
	return name
}
