package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/bus"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newSubscribeCommand() *cobra.Command {
	var s transportSetting
	var asJSON bool
	var count int
	const use = "subscribe PREFIX..."
	cmd := &cobra.Command{
		Use:   use,
		Short: "Print published messages",
		Long: `Print events, log records and other values that are published, for instance by
Zeek, to topics that begin with one of the prefixes, until interrupted. Log
records are published to topics that begin with zeek/logs/.

The empty prefix matches all topics. Do not use it with a Zeek that has data
stores: Zeek treats a peer subscribed to everything as a data store host.`,
		Example: `  zeekwire subscribe --tls off zeek/
  zeekwire subscribe --tls off --json zeek/logs/Conn::LOG
  zeekwire subscribe --transport websocket --count 1 /tests`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 0 {
				return usageError(fmt.Errorf("--count %d: want a number from 1, or 0 for no limit", count))
			}
			o, err := s.options(cmd)
			if err != nil {
				return err
			}
			p := bus.NewPrinter(cmd.OutOrStdout())
			p.JSON = asJSON
			return bus.Subscribe(cmd.Context(), o, args, p, count)
		},
	}
	s.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "JSON output, one object per line")
	cmd.Flags().IntVar(&count, "count", 0, "`NUMBER` of messages after which to exit; 0 for no limit")
	return cmd
}
