package clientcmd_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestStageConfigFiles(t *testing.T) {
	var staged zeekapi.Configuration
	tool := func(t *testing.T) *clientcmd.Tool {
		return respondingTool(t, func(m zeekapi.Message) zeekapi.Message {
			r := m.(zeekapi.StageConfigurationRequest)
			staged = r.Config
			return zeekapi.StageConfigurationResponse{ReqID: r.ReqID, Results: []zeekapi.Result{{Success: true, Data: broker.String("ID")}}}
		})
	}
	const good = "{\n  \"errors\": [],\n  \"results\": {\n    \"id\": \"ID\"\n  }\n}\n"

	t.Run("standard input", func(t *testing.T) {
		runCommand(t, tool(t), "[m]\nrole=manager\nstate=RUNNING\n", "stage-config", "-").want(t, outcome{stdout: good})
		if len(staged.Instances) != 1 || staged.Instances[0].Name != "agent-testhost" {
			t.Errorf("instances %v", staged.Instances)
		}
	})
	t.Run("warnings with -v", func(t *testing.T) {
		runCommand(t, tool(t), "[m]\nrole=manager\nstate=RUNNING\n", "-v", "stage-config", "-").want(t, outcome{stdout: good,
			stderr: "warning: ignoring node \"m\" state \"RUNNING\" in configuration (<stdin>:3)\nwarning: ignoring unexpected keys: state (<stdin>:3)\n"})
	})
	t.Run("all errors of a file", func(t *testing.T) {
		runCommand(t, tool(t), "[m]\nport = 0\n", "deploy-config", "-").want(t, outcome{exit: 1,
			stderr: "error: invalid node \"m\" configuration: node requires a role (<stdin>:1)\n" +
				"error: invalid node \"m\" configuration: port 0 outside valid range (<stdin>:2)\n" +
				"error: configuration has errors, not sending\n"})
	})
	for _, missing := range []string{"", "/nonexistent", "."} {
		t.Run("no file named "+strconv.Quote(missing), func(t *testing.T) {
			runCommand(t, tool(t), "", "stage-config", missing).want(t, outcome{exit: 1,
				stderr: "error: please provide a cluster configuration file.\n"})
		})
	}
}

func TestGetConfigToFile(t *testing.T) {
	config := zeekapi.Configuration{ID: "ID", Instances: []zeekapi.Instance{{Name: "a", Host: netip.IPv4Unspecified()}}}
	tool := respondingTool(t, func(m zeekapi.Message) zeekapi.Message {
		r := m.(zeekapi.GetConfigurationRequest)
		if !r.Deployed {
			t.Error("requested the staged configuration, want the deployed one")
		}
		return zeekapi.GetConfigurationResponse{ReqID: r.ReqID, Result: zeekapi.Result{Success: true, Data: marshal(t, config)}}
	})
	file := filepath.Join(t.TempDir(), "out.cfg")
	runCommand(t, tool, "", "get-config", "--deployed", "-f", file).want(t, outcome{})
	if got, err := os.ReadFile(file); err != nil || string(got) != "[instances]\na\n\n" {
		t.Errorf("file contains %q, error %v, want a configuration without ID", got, err)
	}
}
