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
		Short: "Replay one side of a recording to a live peer",
		Long: `Replay one side of a recording to a live peer.

Each frame is sent as soon as the peer has sent the frames recorded before it.
Endpoint IDs and the key of the WebSocket handshake are adapted, and pings are
answered; all other bytes are sent as recorded.`,
		Example: `  zeekwire replay agent-01.jsonl --as client --connect 127.0.0.1:2150
  zeekwire replay agent-01.jsonl --as server --listen 127.0.0.1:2150`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.Check(); err != nil {
				return usageError(err)
			}
			if err := checkAddresses("--connect", o.Connect); err != nil {
				return err
			}
			if err := checkAddresses("--listen", o.Listen); err != nil {
				return err
			}
			return replay.Run(cmd.Context(), args[0], o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar((*string)(&o.As), "as", "", "`SIDE` to replay: client (which opened the connection) or server")
	f.StringVar(&o.Connect, "connect", "", "`HOST:PORT` of the peer to connect to, as the client")
	f.StringVar(&o.Listen, "listen", "", "`HOST:PORT` to listen at for the peer, as the server")
	f.DurationVar(&o.Patience, "timeout", 10*time.Second, "`TIME` to wait for the next frame of the peer")
	completion.Words(cmd, "as", string(recording.Client), string(recording.Server))
	usage.Require(cmd, "as")
	usage.Exclude(cmd, "connect", "listen")
	return cmd
}
