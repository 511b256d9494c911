package main

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/security"
)

// defaultStateDir is where services keep what they must remember, unless the
// variable, which is Zeek's, says otherwise. Zeek's own default lies under its
// installation.
const (
	defaultStateDir = "/var/lib/zeekwire"
	stateDirVar     = "ZEEK_MANAGEMENT_STATE_DIR"
)

// disabled is the address of what shall not listen or connect.
const disabled = "none"

// addressSetting is a HOST:PORT that a flag sets or, as in Zeek, a pair of
// environment variables. (Zeek: Management::Controller::network_info)
type addressSetting struct {
	flag, usage      string
	addrVar, portVar string
	host             string
	port             uint16
	neededBy         string // who connects to it, if it must not be disabled

	value string
}

func (s *addressSetting) register(cmd *cobra.Command) {
	what, from := s.usage+" `HOST:PORT`", s.portVar+" says"
	if s.neededBy == "" {
		what += " or " + disabled
	}
	if s.addrVar != "" {
		from = s.addrVar + " and " + s.portVar + " say"
	}
	cmd.Flags().StringVar(&s.value, s.flag, "", fmt.Sprintf("%s (default %s, or what %s)",
		what, net.JoinHostPort(s.host, strconv.Itoa(int(s.port))), from))
}

// resolve returns the address, "" if it is disabled. Errors name the flag or
// the variable.
func (s *addressSetting) resolve() (string, error) {
	address, err := s.address()
	if err == nil && address == "" && s.neededBy != "" {
		return "", fmt.Errorf("--%s %q: want HOST:PORT, as %s connect to it", s.flag, disabled, s.neededBy)
	}
	return address, err
}

func (s *addressSetting) address() (string, error) {
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

// serviceSetting is what a controller and an agent are both told.
type serviceSetting struct {
	kind    string // "controller" or "agent"
	nameVar string

	nameFlag, stateDirFlag string
	tls                    tlsSetting
	logs                   logSetting

	// What resolve finds.
	name, stateDir string
	security       *security.Layer
	log            zerolog.Logger
}

func (s *serviceSetting) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.nameFlag, "name", "", fmt.Sprintf("`NAME` of the %s (default %s-HOSTNAME, or what %s says)", s.kind, s.kind, s.nameVar))
	cmd.Flags().StringVar(&s.stateDirFlag, "state-dir", "", "keep state below `DIR` (default "+defaultStateDir+", or what "+stateDirVar+" says)")
	s.tls.register(cmd)
	s.logs.register(cmd)
}

// resolve fills in the results; a log goes to w.
func (s *serviceSetting) resolve(w io.Writer) (err error) {
	if s.log, err = s.logs.logger(w); err != nil {
		return err
	}
	if s.security, err = s.tls.layer(); err != nil {
		return err
	}
	s.stateDir = cmp.Or(s.stateDirFlag, os.Getenv(stateDirVar), defaultStateDir)
	if s.name = cmp.Or(s.nameFlag, os.Getenv(s.nameVar)); s.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("no --name, no %s, and no host name: %w", s.nameVar, err)
		}
		s.name = s.kind + "-" + host
	}
	if s.name == "." || s.name == ".." || strings.ContainsFunc(s.name, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s name %q does not name a file", s.kind, s.name)
	}
	return nil
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
