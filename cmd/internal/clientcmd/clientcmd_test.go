package clientcmd_test

import (
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// newRoot is a program with only the client commands, like zeek-client.
func newRoot(tool *clientcmd.Tool) *cobra.Command {
	root := &cobra.Command{Use: "zeek-client"}
	tool.AddFlags(root.PersistentFlags())
	root.AddCommand(tool.Commands()...)
	return root
}
