package clientcmd_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// TestMissingFiles checks the errors for missing files. With Tool.Extended, they name
// the file and the reason. Without it, they are those of zeek-client.
func TestMissingFiles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		exit  int
		want  string
		stock string // without Tool.Extended
	}{
		{"no such cluster file", []string{"stage-config", "/nonexistent"}, 1,
			"error: cluster configuration /nonexistent: no such file or directory\n",
			"error: please provide a cluster configuration file.\n"},
		{"cluster file is a directory", []string{"check-config", "/"}, 1,
			"error: cluster configuration /: is a directory\n",
			"error: please provide a cluster configuration file.\n"},
		{"no such settings file", []string{"check-config", "-c", "/nonexistent", "/"}, 1,
			"error: settings file /nonexistent: no such file or directory\n",
			"error: please provide a cluster configuration file.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runCommand(t, &clientcmd.Tool{Extended: true}, "", tt.args...).want(t, outcome{exit: tt.exit, stderr: tt.want})
			runCommand(t, new(clientcmd.Tool), "", tt.args...).want(t, outcome{exit: tt.exit, stderr: tt.stock})
		})
	}
	// The settings files of the environment and of the installation need not exist.
	tool := &clientcmd.Tool{Extended: true, ConfigFile: "/nonexistent", Getenv: func(name string) string {
		return map[string]string{"ZEEK_CLIENT_CONFIG_FILE": "/nonexistent"}[name]
	}}
	if got := runCommand(t, tool, "", "show-settings"); got.exit != 0 || got.stderr != "" {
		t.Errorf("missing settings file: %+v, want no error", got)
	}
}
