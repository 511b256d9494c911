package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/cmd/internal/replay"
)

func newReplayCommand() *cobra.Command {
	var o replay.Options
	var as string
	cmd := &cobra.Command{
		Use:   "replay --as client|server (--connect|--listen) ADDRESS FILE",
		Short: "Play one side of a recording to a live peer",
		Long: `Play one side of a recording to a live peer.

It says what its side said as soon as the peer has said what came before.
Endpoint IDs and the key of the WebSocket handshake are adapted; pings are
answered as they come; everything else is as recorded.`,
		Args:         cobra.ExactArgs(1),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.As = recording.Side(as)
			return replay.Run(cmd.Context(), args[0], o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&as, "as", "", "side to play: client, which opened the connection, or server")
	f.StringVar(&o.Connect, "connect", "", "address of the peer, for the client")
	f.StringVar(&o.Listen, "listen", "", "address to wait for the peer at, for the server")
	f.DurationVar(&o.Patience, "timeout", 10*time.Second, "how long the peer may take to go on")
	cmd.MarkFlagRequired("as")
	cmd.MarkFlagsOneRequired("connect", "listen")
	cmd.MarkFlagsMutuallyExclusive("connect", "listen")
	return cmd
}
