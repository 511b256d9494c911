package etcdstore

import (
	"context"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/cmd/internal/etcdtest"
)

// A controller that does not know the schema of the state neither leads nor changes anything, and
// says why. It takes part in the election again when it can read the state.
func TestOtherSchema(t *testing.T) {
	c := etcdtest.Start(t, 1)
	direct, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	former := start(t, c, "/schema", "former")
	turn := leader(t, 0, former).turn()
	if err := turn.Store.Save(staged("c1")); err != nil {
		t.Fatal(err)
	}
	// The leader is a later version, which changes the schema. The other one stands by.
	standing := start(t, c, "/schema", "standing")
	until(t, "another controller stands by", func() bool { return standing.turn().State != nil })
	store := turn.Store.(*Store)
	set := func(schema string) {
		store.mu.Lock()
		defer store.mu.Unlock()
		tr := store.mirror.begin()
		if err := tr.Put([]byte("meta"), []byte("schema"), []byte(schema)); err != nil {
			t.Fatal(err)
		}
		if err := store.commit(context.Background(), tr); err != nil {
			t.Fatal(err)
		}
	}
	known := string(store.mirror.begin().Get([]byte("meta"), []byte("schema")))
	set("99")
	refuses := func(r *runner) {
		t.Helper()
		until(t, r.name+" says why it cannot lead", func() bool {
			post := r.turn().Post
			return !post.Leads && strings.Contains(post.Trouble, "another version of the controller wrote the stored state") && strings.Contains(post.Trouble, `schema is "99"`)
		})
	}
	refuses(standing)
	refuses(start(t, c, "/schema", "fresh"))
	before := c.Control("get", "/schema/entries/", "--prefix")
	members, err := direct.Get(context.Background(), "/schema/controllers/", clientv3.WithPrefix())
	if err != nil || len(members.Kvs) != 1 {
		t.Errorf("%d controllers take part, %v, want the leader only", len(members.Kvs), err)
	}
	if after := c.Control("get", "/schema/entries/", "--prefix"); after != before {
		t.Error("the state has changed")
	}
	set(known)
	term := turn.Post.Term
	until(t, "the others take part again", func() bool { return standing.turn().Post.Trouble == "" })
	former.stop()
	leader(t, term, standing)
}
