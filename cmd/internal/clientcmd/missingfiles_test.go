package clientcmd_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// Mistakes on the command line are told in other words than zeek-client's
// where those would leave people guessing, and where it says nothing.
func TestMissingFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		exit  int
		want  string
		stock string // where people are not meant, if that differs
	}{
		{"no such cluster file", []string{"stage-config", "/nonexistent"}, 1,
			"error: cluster configuration /nonexistent: no such file or directory\n",
			"error: please provide a cluster configuration file.\n"},
		{"cluster file is a directory", []string{"check-config", "/"}, 1,
			"error: cluster configuration /: is a directory\n",
			"error: please provide a cluster configuration file.\n"},
		{"no such settings file", []string{"check-config", "-c", "/nonexistent", "/"}, 1,
			"error: open /nonexistent: no such file or directory\n",
			"error: please provide a cluster configuration file.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runCommand(t, &clientcmd.Tool{People: true}, "", tt.args...).want(t, outcome{exit: tt.exit, stderr: tt.want})
			runCommand(t, new(clientcmd.Tool), "", tt.args...).want(t, outcome{exit: tt.exit, stderr: tt.stock})
		})
	}
	// The file that the environment names may be missing, as may the usual one.
	tool := &clientcmd.Tool{People: true, ConfigFile: "/nonexistent", Getenv: func(name string) string {
		return map[string]string{"ZEEK_CLIENT_CONFIG_FILE": "/nonexistent"}[name]
	}}
	if got := runCommand(t, tool, "", "show-settings"); got.exit != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}
