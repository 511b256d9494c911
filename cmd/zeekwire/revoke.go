package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/usage"
)

func newRevokeCommand() *cobra.Command {
	var f placeFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME...",
		Short: "Revoke the certificates for a name",
		Long: `Revoke all certificates for a name, and make its join files invalid, on the
machine of the controller.

The controller closes connections with such a certificate within five seconds,
or at once after a reload, and accepts no new ones. Agents get the list of
revoked certificates within an hour. "zeekwire invite" makes a new join file for
the name.`,
		Example: "  zeekwire revoke sensor-2",
		Args:    usage.Arguments("revoke NAME..."),
		RunE: func(cmd *cobra.Command, names []string) error {
			_, a, err := f.authority()
			if err != nil {
				return err
			}
			for _, name := range names {
				certificates, invitations, err := a.Revoke(time.Now(), name)
				if err != nil {
					return err
				}
				fmt.Fprintf(safely(cmd.OutOrStdout()), "%s: %d certificates revoked, %d join files made invalid\n", name, certificates, invitations)
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

func newCertificatesCommand() *cobra.Command {
	var f placeFlags
	cmd := &cobra.Command{
		Use:   "certificates",
		Short: "List the certificates and join files of a cluster",
		Long: `List the certificates that the controller's authority has issued, and the join
files that have not been used, on the machine of the controller.`,
		Example: "  zeekwire certificates",
		Args:    usage.Arguments("certificates"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, a, err := f.authority()
			if err != nil {
				return err
			}
			list, err := a.List(time.Now())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(safely(cmd.OutOrStdout()), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tKIND\tSTATE\tEXPIRES")
			for _, e := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Name, e.Kind, e.State, e.Expires.Local().Format(time.DateTime))
			}
			return w.Flush()
		},
	}
	f.add(cmd)
	return cmd
}
