package main

import (
	"net"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/record"
)

func newRecordCommand() *cobra.Command {
	var o record.Options
	var listen string
	cmd := &cobra.Command{
		Use:   "record --listen ADDRESS --connect ADDRESS --output DIRECTORY|FILE.jsonl",
		Short: "Stand between two peers and record what they say",
		Long: `Stand between two peers and record what they say.

Whoever connects to the one address is connected to the other. Each connection,
native or WebSocket, becomes one file; existing files are kept. Connections with
TLS are forwarded, but cannot be recorded. Ends on an interrupt.`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var config net.ListenConfig
			l, err := config.Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return err
			}
			return record.Run(cmd.Context(), l, o, cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "", "address to accept connections at, as in 127.0.0.1:9999")
	f.StringVar(&o.Connect, "connect", "", "address of the peer to forward them to")
	f.StringVar(&o.Output, "output", "", "directory for the recordings, or file name of the first")
	f.StringVar(&o.Name, "name", record.DefaultName, "name of the connections, and of the files in a directory")
	for _, name := range []string{"listen", "connect", "output"} {
		cmd.MarkFlagRequired(name)
	}
	return cmd
}
