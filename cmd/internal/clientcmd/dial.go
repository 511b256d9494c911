package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker/websocket"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/client/connect"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// Dial connects to a controller, as connect.Dial does.
type Dial func(ctx context.Context, o connect.Options) (*connect.Connection, error)

// dialects returns the dialect of a controller with that name, or all of them, the
// usual one first, for auto.
func dialects(name string) ([]*zeekapi.Dialect, error) {
	all := map[string]*zeekapi.Dialect{
		"management": management.Dialect(management.DefaultTopics),
		"cluster":    clusteragent.Dialect(clusteragent.DefaultTopics),
	}
	if name == "auto" {
		return []*zeekapi.Dialect{all["management"], all["cluster"]}, nil
	}
	if all[name] == nil {
		return nil, fmt.Errorf("dialect %q: want auto, management or cluster", name)
	}
	return []*zeekapi.Dialect{all[name]}, nil
}

// options returns the options of the connection from the settings.
func (r *run) options() (connect.Options, error) {
	if r.port < 1 || r.port > 65535 {
		return connect.Options{}, fmt.Errorf("controller port number %d outside valid range", r.port)
	}
	if err := r.checkHost(); err != nil {
		return connect.Options{}, err
	}
	o := connect.Options{Address: r.host + ":" + strconv.Itoa(r.port), Timeout: max(r.retryDelay, time.Second)}
	var err error
	if o.Transport, err = connect.ParseTransport(r.transport); err != nil {
		return o, err
	}
	if o.Dialects, err = dialects(r.parameters.dialect); err != nil {
		return o, err
	}
	if r.usualPort {
		native := net.JoinHostPort(strings.Trim(r.host, "[]"), strconv.Itoa(connect.NativePort))
		switch o.Transport {
		case connect.Native:
			r.port, o.Address = connect.NativePort, native
		case connect.Auto:
			o.NativeAddress = native
		}
	}
	if r.token != "" {
		if !r.tls && !isLoopback(r.host) {
			return o, errors.New("the token would travel in the clear; set ssl.enable, and ssl.cafile to verify the controller")
		}
		o.Header = http.Header{"Authorization": {"Bearer " + r.token}}
	}
	if r.tls {
		err = r.addTLS(&o, r.warning)
	}
	return o, err
}

// checkHost returns an error if the host of the controller has a form that zeek-client
// would try to resolve as a name.
func (r *run) checkHost() error {
	host := strings.Trim(r.host, "[]")
	if _, err := netip.ParseAddr(host); err == nil || !r.tool.Extended {
		return nil
	}
	_, port, err := splitRemote(host)
	if err == nil && port != "" {
		err = errors.New("want a host without a port, which is the setting controller.port")
	}
	if err != nil {
		return fmt.Errorf("setting controller.host is %q, %w%s", host, err, r.settings.find("controller", "host").place())
	}
	return nil
}

// isLoopback reports whether a connection to host stays on this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// dial connects to the controller. It retries as often as the settings allow, and
// describes a failure in its error or to the user. The connection receives the given
// topics in addition to the controller's. It ends with ctx.
func (r *run) dial(ctx context.Context, onError func(error), topics ...string) (*connect.Connection, error) {
	r.keepCertificate(ctx)
	targets, err := r.targets()
	if err != nil {
		return nil, err
	}
	progress := r.newConnectProgress()
	defer progress.clear()
	stage := connectStage
	for attempt := range r.attempts {
		var last error
		var failures []error // that a further attempt would not change
		for _, t := range targets {
			if len(targets) > 1 {
				r.chosen.Store(&t.remote)
			}
			if attempt == 0 {
				r.info("connecting to controller %s", r.remote())
			}
			t.options.OnError, t.options.Topics = onError, topics
			c, err := r.tool.Dial(ctx, t.options)
			switch {
			case err == nil:
				r.useConnection(ctx, c, t.options)
				return c, nil
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case errors.Is(err, syscall.ECONNREFUSED):
				r.debug("connection refused for controller %s", r.remote())
			case isTimeout(err):
				stage = timeoutStage(err)
				r.debug("time-out in %s with controller %s", stage, r.remote())
			default:
				failures = append(failures, fmt.Errorf("%s%s", explain(err, r.remote()), r.trustAdvice(err)))
			}
			last = err
		}
		if len(failures) == len(targets) {
			return nil, r.failToConnect(failures, last)
		}
		progress.addFailure(last)
		if attempt == r.attempts-1 {
			break // zeek-client pauses once more here, without a further attempt
		}
		if !sleep(ctx, r.retryDelay) {
			return nil, context.Cause(ctx)
		}
	}
	progress.clear()
	err = r.fail("%s connection to %s timed out in %s", r.link, r.tried(targets), stage)
	progress.printHint()
	return nil, err
}

// failToConnect prints why no controller accepts a connection, and returns the error of
// the command.
func (r *run) failToConnect(failures []error, cause error) error {
	for _, err := range failures {
		r.error("%v", err)
	}
	return &ExitError{Code: 1, cause: cause}
}

// checkedOptions returns the options of the connection. It reports invalid and
// deprecated settings.
func (r *run) checkedOptions() (connect.Options, error) {
	if r.invalid != nil {
		return connect.Options{}, r.invalid
	}
	if r.settings.find("ssl", "disable") != nil {
		r.warning("The ssl.disable setting is deprecated and ignored. " +
			"Controller connections now default to plaintext. " +
			"Use ssl.enable to enable encryption. " +
			"See 'show-settings' for details.")
	}
	o, err := r.options()
	if err != nil {
		return o, r.fail("cannot configure connection to %s: %v", r.remote(), err)
	}
	r.link = "websocket" // the name that zeek-client uses
	switch o.Transport {
	case connect.Native:
		r.link = "native"
	case connect.HTTP:
		r.link = "HTTP"
	}
	return o, nil
}

// useConnection prepares a new connection for the command: it ends with ctx, it has
// a dialect, and its messages are traced if the verbosity asks for it.
func (r *run) useConnection(ctx context.Context, c *connect.Connection, o connect.Options) {
	context.AfterFunc(ctx, c.Cut)
	r.info("peered with controller %s", r.remote())
	if c.Dialect == nil {
		c.Dialect = o.Dialects[0]
	}
	r.dialect = c.Dialect.Name
	if c.Transport == connect.Native {
		r.link = "native"
	}
	r.reportFound(c.Found)
	r.trace(c)
}

// trace shows the messages of a connection if the verbosity asks for it.
func (r *run) trace(c *connect.Connection) {
	if r.show >= showTraffic {
		c.Bus = &tracer{c.Bus, r.messages}
	}
}

// The names of the stages of an attempt to connect in the messages of zeek-client.
const (
	connectStage   = "connect()"
	handshakeStage = "handshake"
)

// timeoutStage returns the stage in which an attempt timed out.
func timeoutStage(err error) string {
	if errors.Is(err, websocket.ErrNoAck) {
		return handshakeStage
	}
	return connectStage
}

// sleep waits for a duration. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// reportFound reports the transport, the security and the dialect of a new
// connection, with one -v. Without Tool.Extended it takes three, unless zeek-client
// could not have connected with these settings.
func (r *run) reportFound(f connect.Found) {
	level := showDebugs
	if r.tool.Extended || f.Transport == connect.Native || (f.TLS != "") != r.tls {
		level = showWarnings
	}
	if f.Transport == "" {
		return
	}
	r.log(level, "info", "found %s", f)
	if f.Transport == connect.Native && r.token != "" {
		r.warning("there is no token in a native connection")
	}
}

// connect returns a client that also speaks the additional dialects and receives
// their events. The caller must close it.
func (r *run) connect(ctx context.Context, additional ...*zeekapi.Dialect) (*client.Client, error) {
	var topics []string
	for _, d := range additional {
		topics = append(topics, d.Topics.Controller)
		if d.Topics.Events != "" {
			topics = append(topics, d.Topics.Events)
		}
	}
	var c atomic.Pointer[client.Client]
	connection, err := r.dial(ctx, func(err error) {
		if c := c.Load(); c != nil {
			c.Complain(err)
		}
	}, topics...)
	if err != nil {
		return nil, err
	}
	made := client.New(connection, append([]*zeekapi.Dialect{connection.Dialect}, additional...)...)
	made.FollowLeader(r.redirect(ctx, made.Complain, topics))
	made.OnStoredAnswer(r.answered)
	c.Store(made)
	if len(r.remotes) > 1 && made.Has(zeekapi.ControllersRequest{}) {
		r.seekLeader(ctx, made)
	}
	return made, nil
}

// remote returns the address of the controller, as messages show it.
func (r *run) remote() string { return r.describe(r.at()) }

// describe returns an address, as messages show it.
func (r *run) describe(a remote) string {
	switch {
	case a.port > 0:
	case len(r.remotes) == 0:
		a.port = r.port // of the settings, or the default of the transport
	case r.parameters.transport == string(connect.Native):
		a.port = connect.NativePort
	default:
		a.port = connect.WebSocketPort
	}
	return a.host + ":" + strconv.Itoa(a.port)
}

// isTimeout reports whether an attempt to connect exceeded its time limit.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
