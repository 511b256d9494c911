package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
)

// defaultStateDir is where services keep what they must remember. Zeek's own
// default lies under its installation.
const defaultStateDir = "/var/lib/zeekwire"

// disabled is the address of what shall not listen or connect.
const disabled = "none"

// addressSetting is a HOST:PORT that a flag sets or, as in Zeek, a pair of
// environment variables. (Zeek: Management::Controller::network_info)
type addressSetting struct {
	flag, usage      string
	addrVar, portVar string
	host             string
	port             uint16

	value string
}

func (s *addressSetting) register(cmd *cobra.Command) {
	from := s.portVar
	if s.addrVar != "" {
		from = s.addrVar + " and " + s.portVar
	}
	cmd.Flags().StringVar(&s.value, s.flag, "", fmt.Sprintf("%s, `HOST:PORT` or %s (default %s, or what %s say)",
		s.usage, disabled, net.JoinHostPort(s.host, strconv.Itoa(int(s.port))), from))
}

// resolve returns the address, "" if it is disabled. Errors name the flag or
// the variable.
func (s *addressSetting) resolve() (string, error) {
	switch s.value {
	case disabled:
		return "", nil
	case "":
		return s.fromEnvironment()
	}
	host, port, err := net.SplitHostPort(s.value)
	if err != nil {
		return "", fmt.Errorf("--%s %q: want HOST:PORT or %s", s.flag, s.value, disabled)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("--%s %q: port %q is not in 0..65535", s.flag, s.value, port)
	}
	return net.JoinHostPort(host, port), nil
}

func (s *addressSetting) fromEnvironment() (string, error) {
	host, port := s.host, broker.TCP(s.port)
	if v := os.Getenv(s.addrVar); s.addrVar != "" && v != "" {
		host = v
	}
	if v := os.Getenv(s.portVar); v != "" {
		p, err := broker.ParsePort(v)
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.portVar, err)
		}
		port = p
	}
	if port.Number == 0 {
		return "", nil
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port.Number))), nil
}

// nameSetting is the value of --name, of the variable, or PREFIX-HOSTNAME.
func nameSetting(flag, variable, prefix string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if v := os.Getenv(variable); v != "" {
		return v, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("no --name, no %s, and no host name: %w", variable, err)
	}
	return prefix + "-" + host, nil
}

// stateDirSetting is the value of --state-dir, of Zeek's variable, or the
// default.
func stateDirSetting(flag string) string {
	if flag != "" {
		return flag
	}
	if v := os.Getenv("ZEEK_MANAGEMENT_STATE_DIR"); v != "" {
		return v
	}
	return defaultStateDir
}

// logSetting is --log-level and --log-format.
type logSetting struct{ level, format string }

func (s *logSetting) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.level, "log-level", "info", "log `LEVEL` and above: debug, info, warn, error")
	cmd.Flags().StringVar(&s.format, "log-format", "console", "log `FORMAT`: console or json")
}

func (s *logSetting) logger(w io.Writer) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(s.level)
	if err != nil || s.level == "" {
		return zerolog.Nop(), fmt.Errorf("--log-level %q: want debug, info, warn or error", s.level)
	}
	switch s.format {
	case "json":
	case "console":
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	default:
		return zerolog.Nop(), fmt.Errorf("--log-format %q: want console or json", s.format)
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
