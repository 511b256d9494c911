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
		Short: "Publish an event to a Zeek",
		Long: `Publish an event, for instance to a Zeek, and end when whoever wants it has it.
That nobody subscribes to the topic is an error; of a WebSocket server only
complaints can be known. Native peers do not complain: a Zeek silently ignores
events that it does not know, and warns of arguments that do not fit.

Arguments are written with their types, which must be those that the event has
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
					return wrongly(err)
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
