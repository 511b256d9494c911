package main

import (
	"errors"
	"net"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/zeekwire/zeekwire/cmd/internal/listening"
	"github.com/zeekwire/zeekwire/cmd/internal/record"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newRecordCommand() *cobra.Command {
	var listen, connect, names []string
	var output string
	const use = "record --listen HOST:PORT --connect HOST:PORT --output PATH"
	cmd := &cobra.Command{
		Use:   use,
		Short: "Record the traffic between peers",
		Long: `Forward connections between peers and record their traffic until interrupted.

Every connection to --listen is forwarded to --connect. Each connection, native
or WebSocket, is recorded in a file of its own; existing files are never
overwritten. Connections with TLS are forwarded but not recorded.

To record several pairs of peers at once, with a common clock, repeat --listen,
--connect and --name.`,
		Example: `  zeekwire record --output capture \
    --name agent --listen 127.0.0.1:3150 --connect 127.0.0.1:2150 \
    --name client --listen 127.0.0.1:3149 --connect 127.0.0.1:2149`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(listen) != len(connect):
				return usageError(errors.New("every --listen requires a --connect"))
			case len(listen) > 1 && len(names) != len(listen):
				return usageError(errors.New("several --listen require a --name each"))
			case len(names) > len(listen):
				return usageError(errors.New("more --name than --listen"))
			}
			if err := errors.Join(checkAddresses("--listen", listen...), checkAddresses("--connect", connect...)); err != nil {
				return err
			}
			listeners := make([]net.Listener, len(listen))
			for i, address := range listen {
				l, err := listening.Purpose{For: "connections", Flag: "--listen"}.Listen(cmd.Context(), address)
				if err != nil {
					return err
				}
				defer l.Close()
				listeners[i] = l
			}
			log := zerolog.SyncWriter(terminal.SafeWriter(cmd.ErrOrStderr()))
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
	f.StringArrayVar(&listen, "listen", nil, "`HOST:PORT` to accept connections at, such as 127.0.0.1:9999")
	f.StringArrayVar(&connect, "connect", nil, "`HOST:PORT` to forward connections to")
	f.StringArrayVar(&names, "name", nil, "`NAME` of the connections and of their files in a directory (default "+record.DefaultName+")")
	f.StringVar(&output, "output", "", "`PATH` of a directory for NAME-01.jsonl and so on, or of the first file FILE.jsonl, followed by FILE-02.jsonl and so on")
	usage.Require(cmd, "listen", "connect", "output")
	return cmd
}
