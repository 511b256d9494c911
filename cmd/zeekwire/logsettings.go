package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
)

// Values of --log-format.
const (
	logConsole = "console"
	logJSON    = "json"
)

// logSettings are the log settings of a service.
type logSettings struct{ level, format string }

func (s *logSettings) add(t *settings.Table) {
	t.Add(
		settings.Setting{
			Name: "log-level", Common: true, Reload: true,
			Help: "minimum `LEVEL` of log entries: debug, info, warn or error",
			Zeek: "Management::Log::level",
			Value: settings.Parsed(&s.level, func(s string) (string, error) {
				switch s = strings.ToLower(s); s {
				case "debug", "info", "warn", "error":
					return s, nil
				case "warning":
					return "warn", nil
				}
				return "", errors.New("want debug, info, warn or error")
			}, func(s string) string { return s }),
		},
		settings.Setting{
			Name: "log-format", Value: settings.Choice(&s.format, logConsole, logJSON), Common: true,
			Help: "`FORMAT` of the log: console or json",
		},
	)
}

// apply sets the level of all logs of this process. The level is global so that
// it can change while the process runs.
func (s *logSettings) apply() {
	if level, err := zerolog.ParseLevel(s.level); err == nil {
		zerolog.SetGlobalLevel(level)
	}
}

// logger returns a logger that writes to w.
func (s *logSettings) logger(w io.Writer) zerolog.Logger {
	s.apply()
	if s.format == logConsole {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w), FormatPrepare: makeSafe}
	}
	return zerolog.New(w).With().Timestamp().Logger()
}

// makeSafe removes line breaks and control sequences from a log entry, parts of
// which may come from peers. zerolog's console writer quotes other fields, except
// lists.
func makeSafe(entry map[string]any) error {
	for name, value := range entry {
		switch v := value.(type) {
		case string:
			if name == zerolog.MessageFieldName {
				entry[name] = terminal.Safe(v)
			}
		case []any:
			for i := range v {
				if item, ok := v[i].(string); ok {
					v[i] = terminal.Safe(item)
				}
			}
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
