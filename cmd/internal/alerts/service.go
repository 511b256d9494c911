package alerts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Times and limits of a Service.
const (
	attemptTimeout = 30 * time.Second // of one attempt to send
	testTimeout    = 10 * time.Second // of a test
	minRetry       = 5 * time.Second  // pause after a failed attempt; it doubles
	maxRetry       = 5 * time.Minute
	giveUp         = time.Hour // after which a message is given up
	queueLimit     = 64        // queued messages of a channel
	eventLimit     = 2 * MaxAlerts
	certInterval   = time.Hour // between two looks at the certificates
	endPatience    = 5 * time.Second
)

// Config configures a Service.
type Config struct {
	Settings Settings
	Channels []Channel
	Cluster  string // name of the controller

	// Stored are the events of an earlier controller, and Drained its drained instances.
	Stored  []zeekapi.ClusterEvent
	Drained []string

	// Certificates, if non-nil, returns the certificates of the controller.
	Certificates func() []Cert

	// Log receives the notifications, and the errors of channels.
	Log zerolog.Logger
}

// Service notifies operators. It is the AlertSender of a controller. Its methods may be called
// concurrently.
type Service struct {
	config  Config
	senders []*sender

	mu      sync.Mutex
	machine *Machine
	events  []zeekapi.ClusterEvent // for the history
	hasNews chan struct{}          // has an element if events is not empty
	changed chan struct{}          // has an element if the machine's deadline may have changed
}

// NewService returns a service. Run must be called.
func NewService(c Config) *Service {
	s := &Service{
		config: c, machine: New(c.Settings, c.Stored, c.Drained),
		hasNews: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	for _, channel := range c.Channels {
		s.senders = append(s.senders, &sender{channel: channel, log: c.Log.With().Str("channel", channel.Name()).Logger(), wake: make(chan struct{}, 1)})
	}
	return s
}

// Take takes an input. It does not block.
func (s *Service) Take(in Input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.machine.Step(time.Now(), in)
	if n != nil {
		s.publish(*n)
	}
	signal(s.changed)
}

// publish gives a notification to all channels, and to the history. The caller has locked
// s.mu.
func (s *Service) publish(n Notification) {
	m := Message{ID: uuid.NewString(), Cluster: s.config.Cluster, Notification: n}
	s.config.Log.Info().Int("alerts", len(n.Firing)).Int("resolved", len(n.Resolved)).Str("id", m.ID).Msg(m.Subject())
	for _, to := range s.senders {
		to.add(m)
	}
	s.events = append(s.events, n.Events...)
	s.events = s.events[max(0, len(s.events)-eventLimit):]
	if len(s.events) > 0 {
		signal(s.hasNews)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Next waits for events about notifications.
func (s *Service) Next(ctx context.Context) ([]zeekapi.ClusterEvent, error) {
	select {
	case <-s.hasNews:
		s.mu.Lock()
		defer s.mu.Unlock()
		events := s.events
		s.events = nil
		return events, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Run sends messages when they are due, until ctx ends. It then tries once more to send the
// queued messages, for at most 5 seconds.
func (s *Service) Run(ctx context.Context) {
	var senders sync.WaitGroup
	defer senders.Wait()
	for _, to := range s.senders {
		senders.Go(func() { to.run(ctx) })
	}
	certs := time.NewTicker(certInterval)
	defer certs.Stop()
	s.lookAtCertificates()
	for {
		s.mu.Lock()
		deadline, ok := s.machine.Deadline()
		s.mu.Unlock()
		var due <-chan time.Time
		if ok {
			due = time.After(time.Until(deadline))
		}
		select {
		case <-due:
			s.Take(Tick{})
		case <-s.changed:
		case <-certs.C:
			s.lookAtCertificates()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) lookAtCertificates() {
	if s.config.Certificates != nil {
		s.Take(Certificates{s.config.Certificates()})
	}
}

// Present returns the present alerts and the state of the channels.
func (s *Service) Present() zeekapi.Alerts {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := zeekapi.Alerts{Present: s.machine.Present(), Channels: []zeekapi.AlertChannel{}}
	for _, to := range s.senders {
		all.Channels = append(all.Channels, to.status())
	}
	return all
}

// Test sends a test notification by each channel, and returns a result for each.
func (s *Service) Test(ctx context.Context, reqID string) []zeekapi.Result {
	if len(s.senders) == 0 {
		return []zeekapi.Result{zeekapi.Failure(reqID, "no channel is set: set alert-command, alert-webhook or alert-mail-to")}
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	m := Message{ID: uuid.NewString(), Cluster: s.config.Cluster, Notification: Notification{Time: time.Now(), Test: true}}
	results := make([]zeekapi.Result, len(s.senders))
	var tests sync.WaitGroup
	for i, to := range s.senders {
		tests.Go(func() { results[i] = to.test(ctx, m, reqID) })
	}
	tests.Wait()
	return results
}

// sender sends messages by one channel, in order.
type sender struct {
	channel Channel
	log     zerolog.Logger
	wake    chan struct{} // has an element after a message was added

	mu           sync.Mutex
	queue        []Message
	sent, failed uint64
	lastError    string
	last         time.Time
}

// add queues a message. If the queue is full, the oldest message is given up.
func (s *sender) add(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, m)
	if len(s.queue) > queueLimit {
		s.log.Error().Str("id", s.queue[0].ID).Msg("too many notifications wait, the oldest is given up")
		s.queue = slices.Delete(s.queue, 0, 1)
		s.failed++
	}
	signal(s.wake)
}

// run sends messages until ctx ends.
func (s *sender) run(ctx context.Context) {
	for {
		m, ok := s.first()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				s.flush(context.WithoutCancel(ctx))
				return
			}
		}
		err := s.deliver(ctx, m)
		if ctx.Err() != nil {
			s.flush(context.WithoutCancel(ctx))
			return
		}
		s.ended(m, err)
	}
}

// first returns the oldest queued message.
func (s *sender) first() (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return Message{}, false
	}
	return s.queue[0], true
}

// ended records the end of a message.
func (s *sender) ended(m Message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, func(q Message) bool { return q.ID == m.ID })
	if err == nil {
		s.sent++
		return
	}
	s.failed++
	s.log.Error().Err(err).Str("id", m.ID).Msg("a notification is given up")
}

// deliver sends a message, again and again until it succeeds, is refused for good, or has
// taken too long.
func (s *sender) deliver(ctx context.Context, m Message) error {
	began := time.Now()
	for pause := minRetry; ; pause = min(2*pause, maxRetry) {
		err := s.attempt(ctx, attemptTimeout, m)
		if err == nil || errors.Is(err, ErrFinal) || ctx.Err() != nil || time.Since(began)+pause > giveUp {
			return err
		}
		s.log.Warn().Err(err).Str("id", m.ID).Dur("retry", pause).Msg("cannot send a notification, trying again")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attempt tries once to send a message.
func (s *sender) attempt(ctx context.Context, limit time.Duration, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.channel.Send(ctx, m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.lastError = time.Now(), ""
	if err != nil {
		s.lastError = err.Error()
	}
	return err
}

// flush tries once to send each queued message.
func (s *sender) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	for {
		m, ok := s.first()
		if !ok || ctx.Err() != nil {
			return
		}
		s.ended(m, s.attempt(ctx, endPatience, m))
	}
}

// test sends a test message.
func (s *sender) test(ctx context.Context, m Message, reqID string) zeekapi.Result {
	err := s.attempt(ctx, testTimeout, m)
	name := fmt.Sprintf("%s to %s", s.channel.Name(), s.channel.To())
	if err != nil {
		return zeekapi.Failure(reqID, "%s: %v", name, err)
	}
	return zeekapi.Result{ReqID: reqID, Success: true, Data: broker.String(name)}
}

// status returns the state of the channel.
func (s *sender) status() zeekapi.AlertChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return zeekapi.AlertChannel{
		Name: s.channel.Name(), To: s.channel.To(), Sent: s.sent, Failed: s.failed,
		Queued: uint64(len(s.queue)), Error: s.lastError, Last: s.last,
	}
}
