package clientcmd

import "github.com/spf13/cobra"

func (t *Tool) complete([]*cobra.Command) {}
