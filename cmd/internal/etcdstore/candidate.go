package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/controller"
)

// refreshInterval is the time between two reads of etcd.
const refreshInterval = time.Second

// readShare limits the reads of a large state by a controller that stands by. It waits readShare
// times the duration of a read before the next one.
const readShare = 20

// Candidate is a controller among those that share their state in etcd. It implements
// controller.Leadership.
type Candidate struct {
	cfg     Config
	client  *clientv3.Client // nil before the first connection
	foreign bool             // another version wrote the state: this controller cannot lead
	step    chan struct{}    // asks the leader to step down
	sites   *Sites           // nil: not shared
	relay   *relay

	campaign *campaign // nil: not in the election
	failed   string    // why the last campaign failed, "" since the next one has begun well
	term     *term     // nil: it stands by
	turned   bool      // Next has returned a turn
	post     controller.Post
	view     view
}

// term is the time in which a candidate leads.
type term struct {
	store   *Store
	session *concurrency.Session
	keeper  *compactor
}

// view describes the state that a candidate has read while it stands by.
type view struct {
	headRev    int64 // of the state that was read last, 0: none
	readAt     time.Time
	cost       time.Duration // of reading it
	number     uint64        // of the present leader's term
	reported   uint64        // the last write in the last report to the other controllers
	reportedAt time.Time
	absent     bool // this controller was not among those that were read last
}

// NewCandidate returns a candidate. It connects to etcd when Next is called. The error is
// about an invalid configuration.
func NewCandidate(cfg Config) (*Candidate, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	return &Candidate{cfg: cfg, step: make(chan struct{}, 1), relay: newRelay(cfg)}, nil
}

// Close gives up the leadership, and ends the connection to etcd. Next must have returned.
func (c *Candidate) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.timeout())
	defer cancel()
	c.resign(ctx)
	if c.client == nil {
		return nil
	}
	return c.client.Close()
}

// StepDown implements controller.Leadership.
func (c *Candidate) StepDown() {
	select {
	case c.step <- struct{}{}:
	default:
	}
}

// Next implements controller.Leadership.
func (c *Candidate) Next(ctx context.Context) (controller.Turn, error) {
	for {
		var turn controller.Turn
		var news bool
		if c.term != nil {
			turn, news = c.lead(ctx)
		} else {
			turn, news = c.stand(ctx)
		}
		if err := ctx.Err(); err != nil {
			return turn, err
		}
		if news {
			c.turned = true
			return turn, nil
		}
	}
}

// turn returns a turn with the present post.
func (c *Candidate) turn() controller.Turn {
	post := c.post
	post.Members = slices.Clone(post.Members)
	return controller.Turn{Post: post}
}

// stand takes part in the election, and reads the state, until there is news.
func (c *Candidate) stand(ctx context.Context) (controller.Turn, bool) {
	if c.client == nil {
		client, err := c.cfg.dial()
		if err != nil {
			return c.trouble(ctx, err)
		}
		c.client = client
		c.sites.connect(c.cfg.database(client))
	}
	if c.campaign == nil && !c.foreign {
		c.campaign = c.begin()
	}
	if c.turned {
		wait := time.NewTimer(c.interval())
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return controller.Turn{}, false
		case err := <-c.result():
			return c.elected(ctx, err)
		}
	}
	return c.look(ctx)
}

// interval returns the time before the next look.
func (c *Candidate) interval() time.Duration { return min(refreshInterval, c.cfg.Lease/8) }

// follow compares the campaign with the controllers in etcd. It returns true if this one is
// the first of them, and leads. The campaign may not know that yet: the member of etcd that
// should report it may be lost. It begins another campaign if this controller is missing twice.
func (c *Candidate) follow(ctx context.Context, members []member) bool {
	key := ""
	if c.campaign != nil {
		key = c.campaign.keyBelow(c.cfg.Prefix)
	}
	i := slices.IndexFunc(members, func(m member) bool { return m.key == key })
	absent := key != "" && i < 0
	if absent && c.view.absent {
		c.leave(ctx, c.campaign)
		c.campaign, absent = nil, false
	}
	c.view.absent = absent
	if i == 0 {
		c.campaign.resume(members[0])
	}
	return i == 0
}

// trouble waits a moment after an error.
func (c *Candidate) trouble(ctx context.Context, err error) (controller.Turn, bool) {
	if c.view.headRev == 0 {
		err = c.cfg.detail(ctx, err)
	}
	news := !c.turned || c.post.Trouble != err.Error()
	if news {
		c.cfg.Log.Warn().Err(err).Msg("cannot reach etcd, trying again")
		c.post.Trouble = err.Error()
		return c.turn(), true
	}
	pause(ctx, c.interval())
	return controller.Turn{}, false
}

// look reads the controllers, and the state if it has changed.
func (c *Candidate) look(ctx context.Context) (controller.Turn, bool) {
	db := c.cfg.database(c.client)
	members, err := c.members(ctx)
	if err != nil {
		return c.trouble(ctx, err)
	}
	if c.follow(ctx, members) {
		return c.elected(ctx, nil)
	}
	var found snapshot
	if _, err := db.readHead(ctx, &found); err != nil {
		return c.trouble(ctx, explain(err))
	}
	began := time.Now()
	asOf := began
	var state *controller.State
	switch changed := found.headRev != c.view.headRev || c.post.AsOf.IsZero(); {
	case changed && began.Sub(c.view.readAt) < readShare*c.view.cost:
		asOf = c.post.AsOf // reading a large state each second would keep the machine busy
	case changed:
		if found, err = db.read(ctx); err != nil {
			return c.trouble(ctx, err)
		}
		state = new(controller.State)
		if found.headRev != 0 { // zero: there was no leader yet
			if *state, err = controller.ReadEntries(found.mirror.begin()); err != nil {
				return c.unreadable(ctx, fmt.Errorf("etcd: %w", err))
			}
		}
		c.foreign = false
		c.view.headRev, c.view.number = found.headRev, state.Term
		c.view.readAt, c.view.cost = began, time.Since(began)
	}
	if found.headRev == c.view.headRev {
		c.report(ctx, members, found.head.Write)
	}
	if c.campaign != nil && c.campaign.lease.Load() != 0 {
		c.failed = ""
	}
	c.post = controller.Post{Term: c.view.number, Members: zeekapiMembers(members, found.head.Write), AsOf: asOf, Trouble: c.failed}
	c.post.Forwards = c.relay.stand(c.client, c.view.number, c.campaign, accepts(members))
	turn := c.turn()
	turn.State = state
	return turn, true
}

// result returns the result of the campaign, nil without one.
func (c *Candidate) result() <-chan error {
	if c.campaign == nil {
		return nil
	}
	return c.campaign.ended
}

// unreadable handles a state that cannot be read. A controller of another version does not take part
// in the election as long as that is so.
func (c *Candidate) unreadable(ctx context.Context, err error) (controller.Turn, bool) {
	if c.foreign = errors.Is(err, controller.ErrSchema); c.foreign && c.campaign != nil {
		c.leave(ctx, c.campaign)
		c.campaign = nil
	}
	return c.trouble(ctx, err)
}

// elected ends a campaign, and begins the term if this controller was elected.
func (c *Candidate) elected(ctx context.Context, err error) (controller.Turn, bool) {
	ended := c.campaign
	c.campaign = nil
	if err != nil {
		c.leave(ctx, ended)
		err = explain(err)
		c.failed = err.Error()
		return c.trouble(ctx, err)
	}
	store := newStore(c.cfg.database(c.client), ended.key(c.cfg.Prefix), ended.election.Rev())
	ctx, cancel := context.WithTimeout(ctx, 2*c.cfg.timeout())
	defer cancel()
	state, err := store.open(ctx, uint64(max(0, time.Now().Unix())))
	if err == nil {
		err = c.sites.begin(ctx, store, c.cfg.retention())
	}
	if err != nil {
		c.leave(ctx, ended)
		return c.unreadable(ctx, err)
	}
	self := c.self(store.head.Write)
	self.Leads = true
	self.Since = time.Now()
	if err := attempts(ctx, c.cfg.timeout(), func(ctx context.Context) error { return ended.election.Proclaim(ctx, self.encode()) }); err != nil {
		c.sites.end()
		c.leave(ctx, ended)
		return c.trouble(ctx, explain(err))
	}
	members, err := c.members(ctx)
	if err != nil {
		members = []member{self}
	}
	c.term = &term{store: store, session: ended.session, keeper: &compactor{after: c.cfg.Compact, log: c.cfg.Log}}
	c.relay.standing.Store(nil)
	c.post = controller.Post{Leads: true, Term: state.Term, Members: zeekapiMembers(members, store.head.Write)}
	c.cfg.Log.Info().Uint64("term", state.Term).Msg("this controller leads")
	turn := c.turn()
	turn.State, turn.Store = &state, store
	return turn, true
}

// leave ends a campaign and its lease, also that of a won election.
func (c *Candidate) leave(ctx context.Context, of *campaign) {
	of.abandon()
	if lease := of.lease.Load(); lease != 0 {
		c.revoke(ctx, clientv3.LeaseID(lease))
	}
}

// revoke ends a lease. If that fails, it expires.
func (c *Candidate) revoke(ctx context.Context, lease clientv3.LeaseID) {
	_ = attempts(context.WithoutCancel(ctx), c.cfg.timeout()/2, func(ctx context.Context) error {
		_, err := c.client.Revoke(ctx, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// lead watches the lease until there is news.
func (c *Candidate) lead(ctx context.Context) (controller.Turn, bool) {
	if c.relay.term.Load() == nil { // the controller knows its term now
		c.relay.begin(c.client, c.term.store, c.post.Term)
	}
	wait := time.NewTimer(refreshInterval)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return controller.Turn{}, false
	case <-c.step:
		c.cfg.Log.Info().Msg("handing over to another controller")
		return c.deposed(ctx)
	case <-c.term.store.lost:
		return c.deposed(ctx)
	case <-c.term.session.Done():
		if c.renew(ctx) {
			return controller.Turn{}, false
		}
		return c.deposed(ctx)
	case <-wait.C:
	}
	return c.inspect(ctx)
}

// renew continues to use the lease of a session that has ended because etcd did not answer. It
// returns false if the lease has expired.
func (c *Candidate) renew(ctx context.Context) bool {
	confirming, cancel := context.WithTimeout(ctx, c.cfg.timeout())
	defer cancel()
	err := c.term.store.confirm(confirming)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.timeout())
		defer cancel()
		_, err = c.client.KeepAliveOnce(ctx, c.term.session.Lease())
	}
	if errors.Is(err, controller.ErrDeposed) || errors.Is(err, rpctypes.ErrLeaseNotFound) || ctx.Err() != nil {
		return false
	}
	if err == nil {
		var session *concurrency.Session
		if session, err = concurrency.NewSession(c.client, concurrency.WithLease(c.term.session.Lease()), concurrency.WithTTL(c.cfg.seconds())); err == nil {
			c.term.session = session
		}
	}
	if err != nil {
		c.term.store.setHealth(explain(err))
		pause(ctx, retryPause)
	}
	return true
}

// inspect checks whether etcd accepts changes, and reads the other controllers.
func (c *Candidate) inspect(ctx context.Context) (controller.Turn, bool) {
	confirming, cancel := context.WithTimeout(ctx, c.cfg.timeout())
	defer cancel()
	err := c.term.store.confirm(confirming)
	if err == nil {
		err = c.space(ctx)
	}
	if errors.Is(err, controller.ErrDeposed) {
		return c.deposed(ctx)
	}
	c.term.store.setHealth(err)
	if err != nil {
		return controller.Turn{}, false
	}
	c.term.keeper.tick(ctx, c.client, c.cfg.Prefix+"head")
	members, err := c.members(ctx)
	if err != nil {
		return controller.Turn{}, false
	}
	now := zeekapiMembers(members, c.term.store.written())
	if slices.Equal(now, c.post.Members) {
		return controller.Turn{}, false
	}
	c.post.Members = now
	return c.turn(), true
}

// space returns an error if etcd accepts no changes because its database is full.
func (c *Candidate) space(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.timeout())
	defer cancel()
	resp, err := c.client.AlarmList(ctx)
	if err != nil {
		return nil //nolint:nilerr // the user may not be permitted to ask; writes fail then
	}
	for _, alarm := range resp.Alarms {
		if alarm.Alarm.String() == "NOSPACE" {
			return errFull
		}
	}
	return nil
}

// deposed ends the term.
func (c *Candidate) deposed(ctx context.Context) (controller.Turn, bool) {
	c.term.store.seal()
	c.resign(ctx)
	c.post = controller.Post{Term: c.post.Term, AsOf: time.Now()}
	c.view = view{number: c.post.Term}
	return c.turn(), true
}

// resign leaves the election, so that another controller need not wait for the lease to
// expire.
func (c *Candidate) resign(ctx context.Context) {
	if c.campaign != nil {
		c.leave(ctx, c.campaign)
		c.campaign = nil
	}
	if c.term != nil {
		c.term.store.seal()
		c.relay.end()
		c.sites.end()
		c.term.session.Orphan()
		c.revoke(ctx, c.term.session.Lease())
		c.term = nil
	}
}

// campaign is the attempt of a candidate to be elected.
type campaign struct {
	cancel   context.CancelFunc
	session  *concurrency.Session
	election *concurrency.Election
	ended    chan error   // has the result
	lease    atomic.Int64 // 0: none yet; session and election are set before
	resumed  atomic.Bool  // it was won before etcd has said so
}

// begin begins a campaign, in which this controller has not reported anything yet.
func (c *Candidate) begin() *campaign {
	ctx, cancel := context.WithCancel(context.Background())
	b := &campaign{cancel: cancel, ended: make(chan error, 1)}
	self := c.self(0)
	c.view.reported, c.view.reportedAt = 0, time.Time{}
	go func() { b.ended <- b.run(ctx, c.client, c.cfg, self) }()
	return b
}

func (b *campaign) run(ctx context.Context, client *clientv3.Client, cfg Config, self member) error {
	var lease *clientv3.LeaseGrantResponse
	err := attempts(ctx, cfg.timeout(), func(ctx context.Context) (err error) {
		lease, err = client.Grant(ctx, int64(cfg.seconds()))
		return err
	})
	if err != nil {
		return err
	}
	session, err := concurrency.NewSession(client, concurrency.WithLease(lease.ID), concurrency.WithTTL(cfg.seconds()), concurrency.WithContext(ctx))
	if err != nil {
		return err
	}
	election := concurrency.NewElection(session, cfg.Prefix+"controllers")
	b.session, b.election = session, election
	b.lease.Store(int64(lease.ID))
	campaigning, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-session.Done():
			if !b.resumed.Load() {
				stop()
			}
		case <-campaigning.Done():
		}
	}()
	err = election.Campaign(campaigning, self.encode())
	if err != nil && ctx.Err() == nil && campaigning.Err() != nil {
		err = fmt.Errorf("%w: the lease has expired", errGone)
	}
	return err
}

// abandon ends the campaign and its session. It does not wait for the end of the goroutine,
// which may wait for an answer of etcd.
func (b *campaign) abandon() { b.cancel() }

// resume makes the candidate the winner, because its key in etcd is the first one. The end of
// the session must not make etcd's library remove that key then: the lease may still exist.
func (b *campaign) resume(first member) {
	b.resumed.Store(true)
	b.election = concurrency.ResumeElection(b.session, "", first.key, first.revision)
}

// key returns the key of the candidate, without the prefix.
func (b *campaign) key(prefix string) string { return b.election.Key()[len(prefix):] }

// member is the value of the key of a controller.
type member struct {
	zeekapi.ControllerMember
	Read    uint64 `json:"read"`              // the last write that it has read
	Accepts bool   `json:"accepts,omitempty"` // as the leader, it accepts requests that others forward

	key      string // as it was read
	revision int64  // at which the key was made
}

// self returns the value of this controller.
func (c *Candidate) self(read uint64) member {
	self := member{ControllerMember: c.cfg.Member, Read: read, Accepts: true}
	self.Since = time.Now()
	return self
}

func (m member) encode() string {
	text, _ := json.Marshal(m) // it has only texts, numbers and times
	return string(text)
}
