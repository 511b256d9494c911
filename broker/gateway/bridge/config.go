package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
)

// Defaults of Config.
const (
	DefaultStream = "ZEEK"
	DefaultPrefix = "zeek"
	DefaultQueue  = 64 << 20
)

// Limits of a stream that a Bridge creates.
const (
	StreamAge   = 24 * time.Hour
	StreamBytes = 1 << 30
)

// Config configures a Bridge.
type Config struct {
	// URLs are the addresses of the servers of one NATS cluster, such as tls://nats.example.net:4222.
	// There must be at least one. They must not contain a user.
	URLs []string

	// Credentials is a file with credentials of NATS: a file that nsc made, the seed of an
	// NKey, USER:PASSWORD, or a token. It is read again for each connection. Empty: none.
	Credentials string

	// CA, Cert and Key are PEM files with the authorities of servers, and with the client's
	// certificate and key. They are read again for each connection. Empty: the authorities of
	// the system, and no certificate.
	CA, Cert, Key string

	// Stream is the name of the stream. It is created if there is none, with a limit of
	// StreamAge and StreamBytes beyond which it removes the oldest messages. The default is
	// DefaultStream.
	Stream string

	// Prefix precedes the topics in subjects, see Subject. The default is DefaultPrefix.
	Prefix string

	// Queue limits the memory of the messages that are not confirmed yet, in bytes. The
	// default is DefaultQueue. A negative value is an error.
	Queue int

	// Gateway identifies the process of the gateway, whose own messages are not passed back.
	// It must not be empty, and differ after each start.
	Gateway string

	// Deliver receives the messages of other gateways. The name of the Zeek is empty if readers
	// published the message. Deliver is called one message at a time, and delays the next
	// one. If nil, nothing is read from the stream.
	Deliver func(ctx context.Context, zeek string, m broker.Message)

	// Topics are prefixes of the topics that Deliver receives.
	Topics []string

	// Connected, if non-nil, is called when the connection begins and ends, and with the
	// reason about every second while there is none. The reason is nil if it is not known.
	Connected func(connected bool, reason error)

	// Log receives errors that no method returns. The zero value discards them.
	Log zerolog.Logger
}

func (c Config) complete() (Config, error) {
	if c.Stream == "" {
		c.Stream = DefaultStream
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	if c.Connected == nil {
		c.Connected = func(bool, error) {}
	}
	switch {
	case len(c.URLs) == 0:
		return c, errors.New("bridge: no URL of a NATS server")
	case c.Gateway == "":
		return c, errors.New("bridge: no ID of the gateway")
	case c.Queue < 0:
		return c, fmt.Errorf("bridge: Queue is %d, must not be negative", c.Queue)
	case strings.ContainsAny(c.Stream, ". *>/\\\t\r\n"):
		return c, fmt.Errorf("bridge: the name %.80q of the stream is not valid", c.Stream)
	case (c.Cert == "") != (c.Key == ""):
		return c, errors.New("bridge: the certificate and its key belong together")
	}
	for _, u := range c.URLs {
		if err := CheckURL(u); err != nil {
			return c, fmt.Errorf("bridge: %w", err)
		}
	}
	return c, checkPrefix(c.Prefix)
}

// CheckURL returns an error unless a URL is that of a NATS server, without a user.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "":
		return errors.New("want URLs such as nats://127.0.0.1:4222 or tls://nats.example.net:4222") // err may contain a password
	case u.User != nil:
		return errors.New("the URL of a NATS server must not contain a user: put it in the file of credentials")
	case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
		return fmt.Errorf("the scheme of %.80q is not one of nats, tls, ws and wss", text)
	}
	return nil
}

// options returns the options of a connection. It calls changed when that begins and ends.
func (c Config) options(changed func(connected bool, reason error)) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name("zeekwire-gateway " + c.Gateway),
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(reconnectWait), nats.IgnoreAuthErrorAbort(),
		// A message that is sent while there is no connection fails, and is sent again in
		// order. With a buffer, later messages could be sent before it.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(func(*nats.Conn) { changed(true, nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { changed(true, nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { changed(false, err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { changed(false, err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.Log.Warn().Err(err).Msg("NATS reports an error")
		}),
	}
	secure := c.tls()
	for _, option := range secure {
		if err := option(new(nats.Options)); err != nil { // it reads the files
			return nil, fmt.Errorf("bridge: %w", err)
		}
	}
	options = append(options, secure...)
	if c.Credentials != "" {
		authenticate, err := credentials(c.Credentials)
		if err != nil {
			return nil, err
		}
		options = append(options, authenticate)
	}
	return options, nil
}

// tls returns the options for TLS.
func (c Config) tls() (options []nats.Option) {
	if c.CA != "" {
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	return options
}

// credentials returns the option for a file of credentials. The kind must not change later.
func credentials(file string) (nats.Option, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bridge: credentials: %w", err)
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("bridge: credentials: %s is empty", file)
	case bytes.Contains(text, []byte("BEGIN NATS USER JWT")):
		return nats.UserCredentials(file), nil
	case bytes.HasPrefix(text, []byte("SU")) && len(text) == 58 || bytes.Contains(text, []byte("BEGIN USER NKEY SEED")):
		option, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			return nil, fmt.Errorf("bridge: credentials: %s: %w", file, err)
		}
		return option, nil
	case bytes.ContainsAny(text, "\r\n"):
		return nil, fmt.Errorf("bridge: credentials: %s has several lines", file)
	case bytes.ContainsRune(text, ':'):
		return nats.UserInfoHandler(func() (user, password string) {
			user, password, _ = strings.Cut(reread(file), ":")
			return user, password
		}), nil
	}
	return nats.TokenHandler(func() string { return reread(file) }), nil
}

// reread returns the present text of a file of credentials. If it cannot be read, the server
// refuses the empty text.
func reread(file string) string {
	text, _ := os.ReadFile(file)
	return string(bytes.TrimSpace(text))
}
