package main

import (
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/cmd/internal/record"
)

func newRecordCommand() *cobra.Command {
	var listen, connect, names []string
	var output string
	cmd := &cobra.Command{
		Use:   "record --listen ADDRESS --connect ADDRESS --output DIRECTORY|FILE.jsonl",
		Short: "Stand between peers and record what they say",
		Long: `Stand between peers and record what they say.

Whoever connects to the one address is connected to the other. Each connection,
native or WebSocket, becomes one file; existing files are kept. Connections with
TLS are forwarded, but cannot be recorded. Ends on an interrupt.

To record several pairs of peers at once, with a common clock, repeat --listen,
--connect and --name.`,
		Example: `  zeekwire record --output capture \
    --name agent --listen 127.0.0.1:3150 --connect 127.0.0.1:2150 \
    --name client --listen 127.0.0.1:3149 --connect 127.0.0.1:2149`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(listen) != len(connect):
				return errors.New("every --listen needs its --connect")
			case len(listen) > 1 && len(names) != len(listen):
				return errors.New("several --listen need a --name each")
			case len(names) > len(listen):
				return errors.New("more --name than --listen")
			}
			var config net.ListenConfig
			listeners := make([]net.Listener, len(listen))
			for i, address := range listen {
				l, err := config.Listen(cmd.Context(), "tcp", address)
				if err != nil {
					return err
				}
				defer l.Close()
				listeners[i] = l
			}
			log := zerolog.SyncWriter(cmd.ErrOrStderr())
			start := time.Now()
			group, ctx := errgroup.WithContext(cmd.Context())
			for i, l := range listeners {
				o := record.Options{Connect: connect[i], Output: output, Start: start}
				if len(names) > 0 {
					o.Name = names[i]
				}
				group.Go(func() error { return record.Run(ctx, l, o, log) })
			}
			return group.Wait()
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&listen, "listen", nil, "`ADDRESS` to accept connections at, as in 127.0.0.1:9999")
	f.StringArrayVar(&connect, "connect", nil, "`ADDRESS` of the peer to forward them to")
	f.StringArrayVar(&names, "name", nil, "`NAME` of the connections, and of the files in a directory (default "+record.DefaultName+")")
	f.StringVar(&output, "output", "", "`PATH` of the directory for the recordings, or of the first file")
	for _, name := range []string{"listen", "connect", "output"} {
		cmd.MarkFlagRequired(name)
	}
	return cmd
}
