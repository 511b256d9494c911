package manpage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// TestPages checks that the pages keep lists and special characters of the
// help, and leave out hidden commands and flags.
func TestPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{
		Use: "tool", Short: "Do this and that",
		Long: "Tool does things:\n\n  1  this\n  2  that \\n\n\n*stars*, [brackets] and snake_case_names are kept.",
	}
	root.PersistentFlags().StringP("config", "c", "", "`FILE` with settings")
	root.CompletionOptions.DisableDefaultCmd = true
	do := &cobra.Command{Use: "do THING...", Short: "Do a thing", Example: "  tool do 'this' \"\\that\"", Run: run}
	do.Flags().Int("times", 3, "number of repetitions")
	do.Flags().Bool("secretly", false, "hidden")
	do.Flags().Lookup("secretly").Hidden = true
	root.AddCommand(do, &cobra.Command{Use: "hidden", Hidden: true, Run: run})
	dir := t.TempDir()
	root.AddCommand(manpage.Command(manpage.About{
		Version: "tool 1.0",
		Sections: func(*cobra.Command) []manpage.Section {
			return []manpage.Section{{Title: "Exit status", Text: "  0  success\n  1  failure"}}
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
	pages := make(map[string]string)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		pages[e.Name()] = string(text)
	}
	if len(pages) != 2 {
		t.Errorf("%d pages, want tool.1 and tool-do.1", len(pages))
	}
	for page, wants := range map[string][]string{
		"tool.1": {
			".EX\n  1  this\n  2  that \\en\n.EE", "*stars*, [brackets] and snake_case_names are kept.",
			".SH \"COMMANDS\"\n.TP\n\\fBdo\\fP\nDo a thing\n", "\n.EX\n  0  success\n  1  failure\n.EE", "\\fIFILE\\fP with settings", "\\fBtool-do\\fP(1)",
		},
		"tool-do.1": {`tool-do \- Do a thing`, "number of repetitions", "--times", `tool do \(aqthis\(aq \(dq\ethat\(dq`, "--config"},
	} {
		text := strings.NewReplacer(`\-`, "-", `\&`, "").Replace(pages[page])
		for _, want := range wants {
			if want = strings.ReplaceAll(want, `\-`, "-"); !strings.Contains(text, want) {
				t.Errorf("%s does not have %q", page, want)
			}
		}
		if t.Failed() {
			t.Log(cmp.Diff("", text))
		}
		for _, hidden := range []string{"secretly", "hidden"} {
			if strings.Contains(text, hidden) {
				t.Errorf("%s shows %s", page, hidden)
			}
		}
	}
}
