package etcdstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
	sitestore "github.com/zeekwire/zeekwire/zeekapi/site"
)

// connect returns the completed configuration, and a client of etcd.
func (c Config) connect(ctx context.Context) (Config, *clientv3.Client, error) {
	c, err := c.complete()
	if err != nil {
		return c, nil, err
	}
	client, err := c.dial()
	return c, client, c.detail(ctx, err)
}

// Read returns the state in etcd, at one revision. The result is false if there is none.
// Controllers may run.
func Read(ctx context.Context, cfg Config) (controller.State, bool, error) {
	var none controller.State
	cfg, client, err := cfg.connect(ctx)
	if err != nil {
		return none, false, err
	}
	defer client.Close()
	db := cfg.database(client)
	s, err := db.read(ctx)
	if err != nil || s.headRev == 0 {
		return none, false, cfg.detail(ctx, err)
	}
	state, err := controller.ReadEntries(s.mirror.begin())
	return state, err == nil, err
}

// ReadSites copies the named sites from etcd to a store, which verifies them. It returns those
// that are not in etcd.
func ReadSites(ctx context.Context, cfg Config, ids []string, to *sitestore.Store) (missing []string, err error) {
	cfg, client, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	db := cfg.database(client)
	for _, id := range ids {
		err := db.fetchSite(ctx, id, to)
		switch {
		case errors.Is(err, errNoSite):
			missing = append(missing, id)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// writeSites copies the sites that a state needs, as far as the store has them, and reads them
// back.
func writeSites(ctx context.Context, cfg Config, store *Store, state controller.State, from *sitestore.Store) error {
	sites := &Sites{local: from, limit: MaxSites, log: cfg.Log}
	sites.needed.Store(&keep{ids: state.Sites()})
	t := newSiteTerm(sites, store, cfg.retention())
	defer t.cancel()
	if err := t.clean(); err != nil {
		return err
	}
	for _, id := range state.Sites() {
		if !t.Local(id) {
			continue
		}
		if err := t.publish("", id); err != nil {
			return fmt.Errorf("site %s: %w", id, err)
		}
		if err := store.verifySite(ctx, t.known[id].siteRecord); err != nil {
			return fmt.Errorf("site %s: reading it back: %w", id, err)
		}
	}
	return nil
}

// Write makes the state in etcd equal to a state, in a new term, with the sites that it needs
// and that the store has, if it is not nil, and reads it back. No controller may run.
func Write(ctx context.Context, cfg Config, state controller.State, sites *sitestore.Store) error {
	cfg, client, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	c := &Candidate{cfg: cfg, client: client, relay: newRelay(cfg)}
	defer c.Close()
	members, err := c.members(ctx)
	if err != nil {
		return cfg.detail(ctx, err)
	}
	if len(members) > 0 {
		return fmt.Errorf("etcd: controller %q is running; stop all controllers first", members[0].Name)
	}
	c.campaign = c.begin()
	select {
	case err := <-c.campaign.ended:
		if err != nil {
			return explain(err)
		}
	case <-time.After(cfg.timeout() * 2):
		return errors.New("etcd: a controller was started; stop all controllers first")
	case <-ctx.Done():
		return ctx.Err()
	}
	store := newStore(cfg.database(c.client), c.campaign.key(cfg.Prefix), c.campaign.election.Rev())
	present, err := store.open(ctx, state.Term+1)
	if err != nil {
		return err
	}
	state.Term = present.Term
	if sites != nil {
		if err := writeSites(ctx, cfg, store, state, sites); err != nil {
			return err
		}
	}
	if err := store.Rewrite(state); err != nil {
		return err
	}
	stored, err := store.Load()
	if err == nil && !Same(state, stored) {
		err = errors.New("etcd: the state that was written differs from the one that was read back")
	}
	return err
}

// Same reports whether two states are stored in the same way, except for their terms.
func Same(a, b controller.State) bool {
	b.Term = a.Term
	one, err1 := entriesOf(a)
	two, err2 := entriesOf(b)
	return err1 == nil && err2 == nil && maps.EqualFunc(one, two, bytes.Equal)
}

func entriesOf(s controller.State) (map[string][]byte, error) {
	t := newMirror().begin()
	err := controller.PrepareEntries(t)
	if err == nil {
		err = controller.WriteState(t, s)
	}
	return t.edits, err
}
