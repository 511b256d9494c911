package main

import (
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/decode"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newDecodeCommand() *cobra.Command {
	var o decode.Options
	cmd := &cobra.Command{
		Use:   "decode FILE...",
		Short: "Show what recordings and captures hold",
		Long: `Show what recordings and captures hold, one line per frame.

A FILE is a recording of one connection, as "zeekwire record" writes it, or a
capture of unencrypted traffic (pcap or pcapng), or - for standard input.

The exit code is 1 if a file cannot be read, a line or a frame is malformed or,
with --check, a frame does not survive being decoded and encoded.`,
		Example: `  zeekwire decode agent-01.jsonl
  zeekwire decode --json session.pcap
  zeekwire decode --check recordings/*.jsonl`,
		Args: usage.Arguments("decode FILE..."),
		RunE: func(cmd *cobra.Command, files []string) error {
			return decode.Run(files, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
		},
	}
	cmd.Flags().BoolVar(&o.Check, "check", false, "decode and encode every frame and compare, byte by byte;\nprint only what differs and a summary")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print one JSON object per frame")
	return cmd
}
