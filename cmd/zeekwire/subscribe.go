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
		Short: "Print what a Zeek publishes",
		Long: `Print events, log records and other values that are published, for instance by a
Zeek, on topics that begin with one of the prefixes. Log records come on topics
that begin with zeek/logs/. Ends on an interrupt.

The empty prefix stands for all topics. Leave it to Zeeks without data stores:
others would take us for the holder of theirs.`,
		Example: `  zeekwire subscribe --tls off zeek/
  zeekwire subscribe --tls off --json zeek/logs/Conn::LOG
  zeekwire subscribe --transport websocket --count 1 /tests`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 0 {
				return wrongly(fmt.Errorf("--count %d: want a number from 1, or 0 for no end", count))
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object per line")
	cmd.Flags().IntVar(&count, "count", 0, "end after `NUMBER` messages")
	return cmd
}
