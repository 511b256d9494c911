package etcdstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Default values of Config.
const (
	DefaultPrefix  = "/zeekwire"
	DefaultLease   = 10 * time.Second
	DefaultCompact = time.Hour
)

// MinLease is the shortest lease.
const MinLease = 2 * time.Second

// Config configures a Candidate, and the copying of states. Endpoints is required.
type Config struct {
	// Endpoints are the addresses of etcd, HOST:PORT or URLs.
	Endpoints []string

	// Prefix is the beginning of all keys. Controllers with the same prefix share their
	// state. Empty means DefaultPrefix.
	Prefix string

	// TLS, if non-nil, protects the connections to etcd.
	TLS *tls.Config

	// User and Password are for etcd's authentication. An empty User disables it.
	User, Password string

	// Lease is the time after which a controller that does not answer is replaced. It is
	// rounded up to seconds. Zero means DefaultLease; less than MinLease is an error.
	Lease time.Duration

	// Compact is how long the leader keeps former values in etcd. Zero means that it leaves
	// that to etcd; a negative duration is an error.
	Compact time.Duration

	// Member describes the controller.
	Member zeekapi.ControllerMember

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

// complete returns c with the default values filled in.
func (c Config) complete() (Config, error) {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	c.Prefix = strings.TrimRight(c.Prefix, "/") + "/"
	switch {
	case len(c.Endpoints) == 0:
		return c, errors.New("etcd: no endpoints")
	case c.Lease < MinLease:
		return c, fmt.Errorf("etcd: lease is %s, must not be less than %s", c.Lease, MinLease)
	case c.Compact < 0:
		return c, fmt.Errorf("etcd: compaction after %s, must not be negative", c.Compact)
	}
	return c, nil
}

// seconds returns the lease in seconds.
func (c Config) seconds() int { return int((c.Lease + time.Second - 1) / time.Second) }

// timeout returns the longest time of an operation. It is shorter than a lease, so that a
// leader loses no lease while etcd elects a leader of its own.
func (c Config) timeout() time.Duration { return min(c.Lease/2, 5*time.Second) }

// retention returns the longest time that former values stay in etcd, if etcd compacts by itself
// at least every hour.
func (c Config) retention() time.Duration {
	if c.Compact == 0 {
		return 2 * DefaultCompact
	}
	return 2 * c.Compact
}

// database returns the database below the prefix.
func (c Config) database(kv clientv3.KV) database {
	return database{kv: kv, prefix: c.Prefix, timeout: c.timeout()}
}

// dial returns a client of etcd. It connects in the background, except for a user with a
// password.
func (c Config) dial() (*clientv3.Client, error) {
	scheme := "http://"
	if c.TLS != nil {
		scheme = "https://"
	}
	var endpoints []string
	for _, e := range c.Endpoints {
		if !strings.Contains(e, "://") {
			e = scheme + e
		}
		endpoints = append(endpoints, e)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: c.TLS, Username: c.User, Password: c.Password,
		DialTimeout: c.timeout(), DialKeepAliveTime: c.timeout(), DialKeepAliveTimeout: c.timeout() / 2,
		PermitWithoutStream: true, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, explain(err)
	}
	client.Lease = &renewer{Lease: client.Lease, kv: client.KV, key: c.Prefix + "head", lease: time.Duration(c.seconds()) * time.Second}
	return client, nil
}
