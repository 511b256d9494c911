package main

import (
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/decode"
	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newDecodeCommand() *cobra.Command {
	var o decode.Options
	cmd := &cobra.Command{
		Use:   "decode FILE...",
		Short: "Show the contents of recordings and captures",
		Long: `Show the contents of recordings and captures, one line per frame.

A FILE is a recording written by "zeekwire record", a capture of unencrypted
traffic (pcap or pcapng), or - for standard input.

The exit code is 1 if a file cannot be read, if a line or a frame is malformed,
or if --check finds a difference.`,
		Example: `  zeekwire decode agent-01.jsonl
  zeekwire decode --json session.pcap
  zeekwire decode --check recordings/*.jsonl`,
		Args: usage.Arguments("decode FILE..."),
		RunE: func(cmd *cobra.Command, files []string) error {
			return decode.Run(files, cmd.InOrStdin(), cmd.OutOrStdout(), terminal.SafeWriter(cmd.ErrOrStderr()), o)
		},
	}
	cmd.Flags().BoolVar(&o.Check, "check", false, "decode and encode every frame, compare the bytes, and print only\ndifferences and a summary")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "JSON output, one object per frame")
	return cmd
}
