package live

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/peering"
)

// TestHandshake checks that there is exactly one peering, which carries events
// in both directions. Broker's handshake depends on the side that dials and on
// the order of the endpoint IDs.
func TestHandshake(t *testing.T) {
	ids := []struct{ name, id string }{
		{"our ID is less", "00000000-0000-4000-8000-000000000001"},
		{"our ID is greater", "ffffffff-ffff-4fff-bfff-fffffffffffe"},
	}
	dialers := []struct {
		name         string
		ours, theirs bool
	}{
		{"we dial", true, false},
		{"Zeek dials", false, true},
		{"both dial", true, true},
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		for _, id := range ids {
			for _, dialer := range dialers {
				t.Run(dialer.name+" "+id.name, func(t *testing.T) {
					tls := plain(t)
					v, e := newVisitor(t, peering.Config{
						ID: uuid.MustParse(id.id), Subscriptions: []string{"zoo/"},
						TLS: tls.layer.Hook(), RetryMax: time.Second,
					})
					addr, err := e.Listen(v.ctx, "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					var args []string
					if dialer.theirs {
						script := filepath.Join(t.TempDir(), "dial.zeek")
						// After the subscription of zoo.zeek: Zeek 5.0 can lose one that is
						// made during a handshake.
						text := fmt.Sprintf(`event zeek_init() &priority=-10 { Broker::peer("127.0.0.1", %d/tcp, 1sec); }`, portOf(t, addr))
						if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
							t.Fatal(err)
						}
						args = append(args, script)
					}
					zoo := startZoo(t, z, nil, tls, args...)
					if dialer.ours {
						if err := e.AddPeer(at(zoo.native)); err != nil {
							t.Fatal(err)
						}
					}
					v.awaitPeer()
					v.ping(1)
					// If both sides dial, the second connection must be rejected as
					// redundant.
					eventually(t, "one peering", func() error {
						v.ping(2)
						if peers := e.Peers(); len(peers) != 1 || peers[0].State != peering.Peered {
							return fmt.Errorf("peers %v", peers)
						}
						return nil
					})
					v.ping(3)
				})
			}
		}
	})
}
