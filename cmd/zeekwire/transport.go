package main

import (
	"fmt"
	"log"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/bus"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/tlsflags"
)

// transportSetting holds the flags of the commands publish and subscribe.
type transportSetting struct {
	transport string
	bus.Options
	tls tlsflags.Options
}

func (s *transportSetting) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.transport, "transport", string(bus.Native), "`TRANSPORT` to the peer: native, or websocket, which is without TLS unless --tls is given")
	f.StringVar(&s.Connect, "connect", "", "`HOST:PORT` of the peer (default 127.0.0.1; port 9999, for websocket 27759)")
	f.StringVar(&s.Listen, "listen", "", "`HOST:PORT` to listen at for native peers, instead of or in addition to --connect")
	f.DurationVar(&s.Timeout, "timeout", 10*time.Second, "`TIME` to wait for a connection, and for publish also for delivery")
	completion.Words(cmd, "transport", string(bus.Native), string(bus.WebSocket))
	s.tls = tlsflags.New()
	settings.AddFlags(f, s.tls.Settings()...)
}

// options returns the checked options, with defaults for the addresses.
func (s *transportSetting) options(cmd *cobra.Command) (bus.Options, error) {
	o := s.Options
	o.Transport = bus.Transport(s.transport)
	o.Status = log.New(terminal.SafeWriter(cmd.ErrOrStderr()), "", 0) // it contains text of peers
	if o.Connect == "" && o.Listen == "" {
		o.Connect = "127.0.0.1"
	}
	var err error
	if o.Connect, err = address.Join(o.Connect, o.Transport.DefaultPort()); err != nil {
		return o, usageError(fmt.Errorf("--connect %q: %w", s.Connect, err))
	}
	if o.Listen, err = address.Join(o.Listen, o.Transport.DefaultPort()); err != nil {
		return o, usageError(fmt.Errorf("--listen %q: %w", s.Listen, err))
	}
	if o.Transport == bus.WebSocket && !cmd.Flags().Changed("tls") {
		s.tls.TurnOff() // the default of Zeek's WebSocket server
	}
	if err := o.Check(); err != nil {
		return o, usageError(err)
	}
	if err := s.tls.Check(); err != nil {
		return o, usageError(err)
	}
	o.Security, err = s.tls.Layer()
	return o, err
}

// checkAddresses returns a usage error unless the values of a flag are empty or have the
// form HOST:PORT.
func checkAddresses(flag string, values ...string) error {
	for _, value := range values {
		if _, _, err := address.SplitBoth(value, bus.Native.DefaultPort()); err != nil && value != "" {
			return usageError(fmt.Errorf("%s %q: %w", flag, value, err))
		}
	}
	return nil
}
