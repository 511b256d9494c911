package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/recording"
	"github.com/zeekwire/zeekwire/cmd/internal/completion"
	"github.com/zeekwire/zeekwire/cmd/internal/replay"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newReplayCommand() *cobra.Command {
	var o replay.Options
	const use = "replay FILE --as client|server --connect|--listen HOST:PORT"
	cmd := &cobra.Command{
		Use:   use,
		Short: "Play one side of a recording to a live peer",
		Long: `Play one side of a recording to a live peer.

It says what its side said as soon as the peer has said what came before.
Endpoint IDs and the key of the WebSocket handshake are adapted; pings are
answered as they come; everything else is as recorded.`,
		Example: `  zeekwire replay agent-01.jsonl --as client --connect 127.0.0.1:2150
  zeekwire replay agent-01.jsonl --as server --listen 127.0.0.1:2150`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Check(); err != nil {
				return wrongly(err)
			}
			return replay.Run(cmd.Context(), args[0], o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar((*string)(&o.As), "as", "", "play this `SIDE`: client, which opened the connection, or server")
	f.StringVar(&o.Connect, "connect", "", "as the client, connect to the peer at `HOST:PORT`")
	f.StringVar(&o.Listen, "listen", "", "as the server, wait for the peer at `HOST:PORT`")
	f.DurationVar(&o.Patience, "timeout", 10*time.Second, "give up if the peer does not go on within `TIME`")
	completion.Words(cmd, "as", string(recording.Client), string(recording.Server))
	usage.Require(cmd, "as")
	usage.Exclude(cmd, "connect", "listen")
	return cmd
}
