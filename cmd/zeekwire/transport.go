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

// transportSetting is the flags of commands that talk to any peer.
type transportSetting struct {
	transport string
	bus.Options
	tls tlsflags.Options
}

func (s *transportSetting) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.transport, "transport", string(bus.Native), "reach the peer by `TRANSPORT`: native, at Broker's own port, or websocket, without TLS unless --tls says otherwise")
	f.StringVar(&s.Connect, "connect", "", "connect to `HOST:PORT` (default 127.0.0.1; port 9999, for websocket 27759)")
	f.StringVar(&s.Listen, "listen", "", "wait for native peers at `HOST:PORT` in place of connecting, or both")
	f.DurationVar(&s.Timeout, "timeout", 10*time.Second, "give up after `TIME`")
	completion.Words(cmd, "transport", string(bus.Native), string(bus.WebSocket))
	s.tls = tlsflags.New()
	settings.AddFlags(f, s.tls.Settings()...)
}

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
		s.tls.TurnOff() // the default of Zeek's own server
	}
	if err := o.Check(); err != nil {
		return o, wrongly(err)
	}
	if err := s.tls.Check(); err != nil {
		return o, wrongly(err)
	}
	var err error
	o.Security, err = s.tls.Layer()
	return o, err
}

func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(address, port)
}
