package main

import (
	"log"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/bus"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
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
	o.Status = log.New(cmd.ErrOrStderr(), "", 0)
	if o.Connect == "" && o.Listen == "" {
		o.Connect = "127.0.0.1"
	}
	o.Connect = withPort(o.Connect, o.Transport.DefaultPort())
	o.Listen = withPort(o.Listen, o.Transport.DefaultPort())
	if o.Transport == bus.WebSocket && !cmd.Flags().Changed("tls") {
		s.tls.TurnOff() // the default of Zeek's WebSocket server
	}
	if err := o.Check(); err != nil {
		return o, usageError(err)
	}
	if err := s.tls.Check(); err != nil {
		return o, usageError(err)
	}
	var err error
	o.Security, err = s.tls.Layer()
	return o, err
}

// withPort adds a port to an address without one. The empty address stays empty.
func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(address, port)
}
