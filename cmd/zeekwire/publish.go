package main

import (
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/bus"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newPublishCommand() *cobra.Command {
	var s transportSetting
	const use = "publish TOPIC EVENT [TYPE:TEXT...]"
	cmd := &cobra.Command{
		Use:   use,
		Short: "Publish an event",
		Long: `Publish an event, for instance to Zeek, and wait until all subscribers have
received it. Over the native protocol it is an error if no peer subscribes to
the topic. A WebSocket server only reports invalid messages. Native peers report
no errors: Zeek ignores unknown events, and logs a warning about wrong
arguments.

Arguments are written with their types, which must match the event's parameters
in Zeek:

` + bus.ArgForms,
		Example: `  zeekwire publish --tls off /tests my_event count:42 'string:hello world'
  zeekwire publish --transport websocket /tests my_event set[addr]:10.0.0.1`,
		Args: usage.Arguments(use),
		RunE: func(cmd *cobra.Command, args []string) error {
			ev := broker.NewEvent(args[1])
			for _, arg := range args[2:] {
				v, err := bus.ParseArg(arg)
				if err != nil {
					return usageError(err)
				}
				ev.Args = append(ev.Args, v)
			}
			o, err := s.options(cmd)
			if err != nil {
				return err
			}
			return bus.Publish(cmd.Context(), o, args[0], ev)
		},
	}
	s.register(cmd)
	return cmd
}
