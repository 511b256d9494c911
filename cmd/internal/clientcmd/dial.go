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

// Dial connects to a controller; connect.Dial unless set otherwise.
type Dial func(ctx context.Context, o connect.Options) (*connect.Connection, error)

// dialects are those of controllers, the usual one first.
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
	o := connect.Options{Address: r.remote(), Timeout: max(r.retryDelay, time.Second)}
	var err error
	if o.Transport, err = connect.ParseTransport(r.transport); err != nil {
		return o, err
	}
	if o.Dialects, err = dialects(r.parameters.dialect); err != nil {
		return o, err
	}
	if r.settings.find("controller", "port").origin == "" {
		native := net.JoinHostPort(strings.Trim(r.host, "[]"), strconv.Itoa(connect.NativePort))
		switch o.Transport {
		case connect.Native:
			r.port, o.Address = connect.NativePort, native
		case connect.Auto:
			o.NativeAddress = native
		}
	}
	if r.token != "" {
		if !r.tls && !isThisMachine(r.host) {
			return o, errors.New("the token would travel in the clear; set ssl.enable, and ssl.cafile to know who gets it")
		}
		o.Header = http.Header{"Authorization": {"Bearer " + r.token}}
	}
	if r.tls {
		err = r.protect(&o)
	}
	return o, err
}

func isThisMachine(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// dial connects, as often and as long as the settings allow, and says what is
// wrong if that fails. The topics are those to receive besides the controller's.
// The connection ends with ctx.
func (r *run) dial(ctx context.Context, onError func(error), topics ...string) (*connect.Connection, error) {
	if r.invalid != nil {
		return nil, r.invalid
	}
	if r.settings.find("ssl", "disable") != nil {
		r.warning("The ssl.disable setting is deprecated and ignored. " +
			"Controller connections now default to plaintext. " +
			"Use ssl.enable to enable encryption. " +
			"See 'show-settings' for details.")
	}
	o, err := r.options()
	if err != nil {
		return nil, r.fail("cannot configure connection to %s: %v", r.remote(), err)
	}
	o.OnError, o.Topics = onError, topics
	r.link = "websocket" // as zeek-client calls it
	if o.Transport == connect.Native {
		r.link = "native"
	}
	r.info("connecting to controller %s", r.remote())
	stage := "connect()"
	waiting := r.newWaiting()
	defer waiting.end()
	for attempt := range r.attempts {
		c, err := r.tool.Dial(ctx, o)
		switch {
		case err == nil:
			context.AfterFunc(ctx, c.Cut)
			r.info("peered with controller %s", r.remote())
			if c.Dialect == nil {
				c.Dialect = o.Dialects[0]
			}
			r.dialect = c.Dialect.Name
			if c.Transport == connect.Native {
				r.link = "native"
			}
			r.sayFound(c.Found)
			if r.show >= showTraffic {
				c.Bus = &tracer{c.Bus, r.messages}
			}
			return c, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, syscall.ECONNREFUSED):
			r.debug("connection refused for controller %s", r.remote())
		case isTimeout(err):
			stage = "connect()"
			if errors.Is(err, websocket.ErrNoAck) {
				stage = "handshake"
			}
			r.debug("time-out in %s with controller %s", stage, r.remote())
		default:
			return nil, r.fail("%s", explain(err, r.remote()))
		}
		waiting.failed(err)
		if attempt == r.attempts-1 {
			break // zeek-client waits once more, for nothing
		}
		select {
		case <-time.After(r.retryDelay):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	waiting.end()
	err = r.fail("%s connection to %s timed out in %s", r.link, r.remote(), stage)
	waiting.advise()
	return nil, err
}

// sayFound says how the controller was reached, with one -v. Where all is to be
// as in zeek-client it takes three, unless zeek-client would not have got there
// by these settings.
func (r *run) sayFound(f connect.Found) {
	level := showDebugs
	if r.tool.People || f.Transport == connect.Native || (f.TLS != "") != r.tls {
		level = showWarnings
	}
	if f.Transport == "" {
		return
	}
	r.say(level, "info", "found %s", f)
	if f.Transport == connect.Native && r.token != "" {
		r.warning("there is no token in a native connection")
	}
}

// connect returns a client, which the caller must close. It also speaks the
// additional dialects and gets their events.
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
	c.Store(client.New(connection, append([]*zeekapi.Dialect{connection.Dialect}, additional...)...))
	return c.Load(), nil
}

func (r *run) remote() string { return r.host + ":" + strconv.Itoa(r.port) }

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
