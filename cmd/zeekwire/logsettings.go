package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// logSettings say what a service logs, and how.
type logSettings struct{ level, format string }

func (s *logSettings) add(t *settings.Table) {
	t.Group("Log")
	t.Add(
		settings.Setting{
			Name: "log-level", Common: true, Reload: true,
			Help: "log `LEVEL` and above: debug, info, warn or error",
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
			Name: "log-format", Value: settings.Choice(&s.format, "console", "json"), Common: true,
			Help: "log in `FORMAT`: console, for people, or json",
		},
	)
}

// logger returns a log that goes to w.
func (s *logSettings) logger(w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(s.level)
	if err != nil {
		return zerolog.Nop(), err
	}
	if s.format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
