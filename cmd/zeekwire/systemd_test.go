package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// tableOf returns the default settings of a service.
func tableOf(service string) *settings.Table {
	switch service {
	case "controller":
		return newControllerSettings().table()
	case "gateway":
		return newGatewaySettings().table()
	}
	return newAgentSettings().table()
}

// TestSampleConfigurations checks that the sample files document all settings
// with their defaults: enabling every line must change nothing.
func TestSampleConfigurations(t *testing.T) {
	for _, service := range serviceNames {
		t.Run(service, func(t *testing.T) {
			file := filepath.Join("systemd", service+".conf")
			var want bytes.Buffer
			if err := tableOf(service).Sample(&want); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			sample, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), string(sample)); diff != "" {
				t.Errorf("run with -update: -want +got\n%s", diff)
			}

			// A "#" followed by a name disables a setting.
			used := filepath.Join(t.TempDir(), "used.conf")
			if err := os.WriteFile(used, regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAll(sample, []byte("$1")), 0o600); err != nil {
				t.Fatal(err)
			}
			plain, _, code := call(t.Context(), service, "--print-config")
			if code != 0 {
				t.Fatal("--print-config failed")
			}
			for _, f := range []string{file, used} {
				stdout, stderr, code := call(t.Context(), service, "--print-config", "--config", f)
				if code != 0 {
					t.Fatalf("%s: %s", f, stderr)
				}
				origins := regexp.MustCompile(`(?m) +# \S*.conf:\d+: .*$| +# default$`)
				if diff := cmp.Diff(origins.ReplaceAllString(plain, ""), origins.ReplaceAllString(stdout, "")); diff != "" {
					t.Errorf("%s: -default +sample\n%s", f, diff)
				}
			}
		})
	}
}

// The commands in the unit files exist and accept their arguments.
func TestUnitsRunExistingCommands(t *testing.T) {
	for _, service := range serviceNames {
		unit := readUnit(t, service)
		m := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/zeekwire (.*)$`).FindStringSubmatch(unit)
		if m == nil {
			t.Fatalf("%s: no ExecStart", service)
		}
		for _, env := range regexp.MustCompile(`(?m)^Environment=(\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
			t.Setenv(env[1], env[2])
		}
		args := strings.Fields(strings.ReplaceAll(m[1], "/etc/zeekwire/", "systemd/"))
		stdout, stderr, code := call(t.Context(), append(args, "--print-config")...)
		if code != 0 {
			t.Errorf("%s: %s", service, stderr)
		}
		if service == "agent" && !strings.Contains(stdout, "on-exit = leave") {
			t.Errorf("nodes do not keep running when the agent ends:\n%s", stdout)
		}
	}
}

// ExecReload checks the settings before it sends the signal, because systemctl
// does not learn the outcome of a signal.
func TestUnitsCheckSettingsBeforeReload(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	mutual := []string{"--tls", "mutual", "--tls-cert", missing, "--tls-key", missing, "--tls-ca", missing}
	for _, service := range serviceNames {
		m := regexp.MustCompile(`(?m)^ExecReload=/usr/local/bin/zeekwire (.*)\nExecReload=/bin/kill `).FindStringSubmatch(readUnit(t, service))
		if m == nil {
			t.Fatalf("%s: no check in ExecReload", service)
		}
		args := strings.Fields(strings.ReplaceAll(m[1], "/etc/zeekwire/", "systemd/"))
		if stdout, stderr, code := call(t.Context(), args...); stdout != "" || stderr != "" || code != 0 {
			t.Errorf("%s: exit code %d, %s%s", service, code, stdout, stderr)
		}
		wrong := [][]string{{"--log-level", "x"}, mutual}
		if service == "controller" {
			wrong = append(wrong, []string{"--clients", missing}, []string{"--websocket-tls-cert", missing, "--websocket-tls-key", missing})
		}
		for _, w := range wrong {
			if _, stderr, code := call(t.Context(), append(args[:len(args):len(args)], w...)...); stderr == "" || code == 0 {
				t.Errorf("%s %v: exit code %d, %q", service, w, code, stderr)
			}
		}
	}
}

func readUnit(t *testing.T, service string) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join("systemd", "zeekwire-"+service+".service"))
	if err != nil {
		t.Fatal(err)
	}
	return string(unit)
}

func TestUnitsAreValid(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range serviceNames {
		file := filepath.Join(t.TempDir(), "zeekwire-"+service+".service")
		unit := strings.ReplaceAll(readUnit(t, service), "/usr/local/bin/zeekwire", self)
		if err := os.WriteFile(file, []byte(unit), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput()
		var complaints []string
		for line := range strings.Lines(string(out)) {
			const newer = "Unknown key 'DelegateSubgroup'" // systemd before 254 ignores it
			if strings.Contains(line, file) && !strings.Contains(line, newer) {
				complaints = append(complaints, line)
			}
		}
		if len(complaints) > 0 {
			t.Errorf("%s: %v\n%s", service, err, strings.Join(complaints, ""))
		}
	}
}
