package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/apicheck"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// TestAPI compares the events of our dialects with the declarations in Zeek's
// scripts.
func TestAPI(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		t.Run("Management", func(t *testing.T) {
			if _, err := os.Stat(z.scripts + "/policy/frameworks/management"); err != nil {
				t.Skipf("Zeek %s has no Management framework", z.version)
			}
			checkAPI(t, z, z.scripts, management.Dialect(management.DefaultTopics),
				"policy/frameworks/management", "Management::Controller::API::notify_agents_ready")
		})
		t.Run("ClusterAgent", func(t *testing.T) {
			checkAPI(t, z, clusterScripts(t, z), clusteragent.Dialect(clusteragent.DefaultTopics),
				"policy/frameworks/cluster", "ClusterController::API::notify_agents_ready")
		})
	})
}

// checkAPI reports differences between a dialect and the scripts. Local is the
// name of an event that is not published.
func checkAPI(t *testing.T, z *installation, scripts string, dialect *zeekapi.Dialect, folder, local string) {
	t.Helper()
	api, err := apicheck.Read(os.DirFS(filepath.Join(scripts, folder)), os.DirFS(filepath.Join(z.scripts, "base/frameworks/supervisor")))
	if err != nil {
		t.Fatal(err)
	}
	if len(api.Events) == 0 {
		t.Errorf("no events in %s", folder)
	}
	for range api.Events {
		checked(t)
	}
	for _, difference := range apicheck.Compare(dialect, api, local) {
		t.Error(difference)
	}
}
