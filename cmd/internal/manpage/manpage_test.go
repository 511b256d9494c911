package manpage_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestPages(t *testing.T) {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{
		Use: "tool", Short: "Do this and that",
		Long: "Tool does things:\n\n  1  this\n  2  that \\n\n\n.dots and 'quotes' do no harm.",
	}
	root.PersistentFlags().StringP("config", "c", "", "read `FILE`")
	root.AddGroup(&cobra.Group{ID: "g", Title: "Doing things:"})
	root.CompletionOptions.DisableDefaultCmd = true
	do := &cobra.Command{Use: "do THING...", Short: "Do a thing", Example: "  tool do 'this' \"\\that\"", GroupID: "g", Run: run}
	do.Flags().Int("times", 3, "do it so often")
	do.Flags().Bool("secretly", false, "tell nobody")
	do.Flags().Lookup("secretly").Hidden = true
	root.AddCommand(do, &cobra.Command{Use: "hidden", Hidden: true, Run: run}, &cobra.Command{Use: "rest", Short: "Rest", Run: run})
	dir := t.TempDir()
	root.AddCommand(manpage.Command(manpage.About{
		Version: "tool 1.0",
		Sections: func(*cobra.Command) []manpage.Section {
			return []manpage.Section{{Title: "Exit status", Text: "  0  done\n  1  failed"}}
		},
	}))
	root.SetArgs([]string{"man", "--dir", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		got, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", e.Name())
		if *update {
			if err := os.WriteFile(golden, got, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", e.Name(), diff)
		}
	}
	if diff := cmp.Diff([]string{"tool-do.1", "tool-rest.1", "tool.1"}, names); diff != "" {
		t.Errorf("pages (-want +got)\n%s", diff)
	}
}
