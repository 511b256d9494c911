package main

import (
	"log"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/bus"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
)

// transportSetting is the flags of commands that talk to any peer.
type transportSetting struct {
	transport string
	bus.Options
	tls tlsSetting
}

func (s *transportSetting) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.transport, "transport", string(bus.Native), "reach the peer by `TRANSPORT`: native, at Broker's own port, or websocket, without TLS unless --tls says otherwise")
	f.StringVar(&s.Connect, "connect", "", "connect to `HOST:PORT` (default 127.0.0.1; port 9999, for websocket 27759)")
	f.StringVar(&s.Listen, "listen", "", "wait for native peers at `HOST:PORT` in place of connecting, or both")
	f.DurationVar(&s.Timeout, "timeout", 10*time.Second, "give up after `TIME`")
	completion.Words(cmd, "transport", string(bus.Native), string(bus.WebSocket))
	s.tls.register(cmd)
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
		s.tls.mode = security.Off.String() // as Zeek's own server is by default
	}
	if err := o.Check(); err != nil {
		return o, wrongly(err)
	}
	layer, err := s.tls.layer()
	if err != nil {
		return o, err
	}
	o.Security = layer
	return o, nil
}

func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(address, port)
}
