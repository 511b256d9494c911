package httpapi

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Limits are the limits of a Server. A client is a name, or an address for anonymous ones.
// Zero means the default, a negative value is an error.
type Limits struct {
	Body              int64 // bytes of the body of a request; default 16 MiB
	Memory            int   // bytes of the bodies of all requests; default 64 MiB
	Clients           int   // connections to the controller, one for each client and address; default 1024
	Sessions          int   // default 1024
	SessionsPerClient int   // default 32
	Streams           int   // default 512
	StreamsPerClient  int   // default 256
	Requests          int   // requests at the same time; default 512
	RequestsPerClient int   // default 128
	Rate              int   // requests of a client per second, with as many again in a burst; default 1000
	Jobs              int   // jobs under way; default 256
	JobsPerClient     int   // default 32
}

func (l Limits) complete() (Limits, error) {
	for _, x := range []struct {
		name string
		p    *int
		n    int
	}{
		{"Memory", &l.Memory, 64 << 20}, {"Clients", &l.Clients, 1024}, {"Sessions", &l.Sessions, 1024}, {"SessionsPerClient", &l.SessionsPerClient, 32},
		{"Streams", &l.Streams, 512}, {"StreamsPerClient", &l.StreamsPerClient, 256},
		{"Requests", &l.Requests, 512}, {"RequestsPerClient", &l.RequestsPerClient, 128}, {"Rate", &l.Rate, 1000},
		{"Jobs", &l.Jobs, 256}, {"JobsPerClient", &l.JobsPerClient, 32},
	} {
		if *x.p < 0 {
			return l, fmt.Errorf("httpapi: limit %s is %d, must not be negative", x.name, *x.p)
		}
		if *x.p == 0 {
			*x.p = x.n
		}
	}
	if l.Body < 0 {
		return l, fmt.Errorf("httpapi: limit Body is %d, must not be negative", l.Body)
	}
	if l.Body == 0 {
		l.Body = 16 << 20
	}
	return l, nil
}

// Limits of attempts to log in, for each address.
const (
	failuresBurst = 20
	failureEvery  = 5 * time.Second // one attempt is forgotten
)

// Errors of visits. Their texts are sent to the client.
var (
	errRate     = errors.New("too many requests; wait a second")
	errBusy     = errors.New("too many requests at the same time")
	errFailures = errors.New("too many wrong tokens from this address; wait a minute")
)

// visitor is a client that has sent requests.
type visitor struct {
	tokens   float64 // requests that it may send now
	failures float64 // wrong tokens
	at       time.Time
	inside   int
}

// visits counts the requests of clients. It may be used concurrently.
type visits struct {
	limits Limits
	now    func() time.Time

	mu      sync.Mutex
	by      map[string]*visitor
	inside  int
	streams int
}

func newVisits(limits Limits) *visits {
	return &visits{limits: limits, now: time.Now, by: make(map[string]*visitor)}
}

// maxVisitors is the number of visitors that are remembered. Those that could send a full
// burst again are forgotten first.
const maxVisitors = 4096

// of returns a visitor with its present allowances. It must be called with the lock held.
func (v *visits) of(key string) *visitor {
	now, burst := v.now(), float64(2*v.limits.Rate)
	x := v.by[key]
	if x == nil {
		if len(v.by) >= maxVisitors {
			v.forget(now)
		}
		x = &visitor{tokens: burst, at: now}
		v.by[key] = x
	}
	passed := now.Sub(x.at).Seconds()
	x.at = now
	x.tokens = min(burst, x.tokens+passed*float64(v.limits.Rate))
	x.failures = max(0, x.failures-passed/failureEvery.Seconds())
	return x
}

// forget removes visitors that need not be remembered, or else any that is not inside. It
// must be called with the lock held.
func (v *visits) forget(now time.Time) {
	const full = 2 * time.Second // after which the allowance is full
	for key, x := range v.by {
		if x.inside == 0 && now.Sub(x.at) > full && x.failures-now.Sub(x.at).Seconds()/failureEvery.Seconds() <= 0 {
			delete(v.by, key)
		}
	}
	for key, x := range v.by {
		if len(v.by) < maxVisitors {
			return
		}
		if x.inside == 0 {
			delete(v.by, key)
		}
	}
}

// visit is a request of a client that is under way, or a stream. Its methods may be called
// concurrently.
type visit struct {
	all     *visits
	by      *visitor
	body    io.ReadCloser // without a limit
	streams bool
	ended   bool
}

// enter counts a request of a client, until it becomes a stream or ends.
func (v *visits) enter(key string) (*visit, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	x := v.of(key)
	switch {
	case x.tokens < 1:
		return nil, errRate
	case x.inside >= v.limits.RequestsPerClient || v.inside >= v.limits.Requests:
		return nil, errBusy
	}
	x.tokens--
	x.inside++
	v.inside++
	return &visit{all: v, by: x}, nil
}

// stream makes the request count as a stream.
func (v *visit) stream() {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	if v.ended || v.streams {
		return
	}
	v.streams = true
	v.by.inside--
	v.all.inside--
	v.all.streams++
}

// end ends the request or the stream.
func (v *visit) end() {
	v.all.mu.Lock()
	defer v.all.mu.Unlock()
	switch {
	case v.ended:
	case v.streams:
		v.all.streams--
	default:
		v.by.inside--
		v.all.inside--
	}
	v.ended = true
}

// present returns the number of requests that are under way, and of streams.
func (v *visits) present() (requests, streams int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.inside, v.streams
}

// mayTry returns an error if too many wrong tokens came from an address.
func (v *visits) mayTry(key string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if x := v.by[key]; x != nil && v.of(key).failures >= failuresBurst {
		return errFailures
	}
	return nil
}

// failed counts a wrong token.
func (v *visits) failed(key string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.of(key).failures++
}
