package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/gateway"
	"github.com/zeekwire/zeekwire/broker/gateway/bridge"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// natsSettings are the settings of a gateway that is connected to other gateways by NATS.
type natsSettings struct {
	urls                       []string // empty: NATS is not used
	credentials, ca, cert, key string   // names of files
	stream, prefix             string
	receive                    string
	queue                      int // MiB
}

// Values of --nats-receive.
const (
	receiveNone    = "none"
	receiveReaders = "readers"
	receiveAll     = "all"
)

func defaultNATS() natsSettings {
	return natsSettings{
		stream: bridge.DefaultStream, prefix: bridge.DefaultPrefix, receive: receiveReaders, queue: bridge.DefaultQueue / mebibyte,
	}
}

// addNATS adds the settings for NATS.
func (s *gatewaySettings) addNATS() {
	n := &s.nats
	s.t.Group("NATS between gateways")
	s.t.Add(
		settings.Setting{
			Name: "nats-url", Value: settings.Parsed(&n.urls, parseNATSURLs, joinPatterns), Common: true,
			Help: "`LIST` of URLs of NATS servers, such as nats://127.0.0.1:4222 or tls://nats.example.net:4222; empty: NATS is not used",
		},
		settings.Setting{
			Name: "nats-credentials", Value: settings.Text(&n.credentials),
			Help: "`FILE` with credentials of NATS: a file of nsc, the seed of an NKey, USER:PASSWORD, or a token",
		},
		settings.Setting{
			Name: "nats-tls-ca", Value: settings.Text(&n.ca),
			Help: "PEM `FILE` with the authorities that issue the certificates of NATS servers; empty: those of the system",
		},
		settings.Setting{
			Name: "nats-tls-cert", Value: settings.Text(&n.cert),
			Help: "PEM `FILE` with the gateway's certificate for NATS servers",
		},
		settings.Setting{
			Name: "nats-tls-key", Value: settings.Text(&n.key),
			Help: "PEM `FILE` with the private key of --nats-tls-cert, without a passphrase",
		},
		settings.Setting{
			Name: "nats-stream", Value: settings.Text(&n.stream),
			Help: "`NAME` of the JetStream stream, which is created if it does not exist",
		},
		settings.Setting{
			Name: "nats-subject", Value: settings.Text(&n.prefix),
			Help: "`PREFIX` of the subjects in NATS; the topic follows",
		},
		settings.Setting{
			Name: "nats-receive", Value: settings.Choice(&n.receive, receiveNone, receiveReaders, receiveAll),
			Help: "`WHERE` messages of other gateways go: none, to the readers, or all: also those of readers to the Zeeks",
		},
		settings.Setting{
			Name: "nats-queue", Value: settings.Count(&n.queue, 1, maxSiteSpace),
			Help: "`MIB` of memory for messages that NATS has not confirmed; without memory, messages are not published in NATS",
		},
	)
}

func parseNATSURLs(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var urls []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if err := bridge.CheckURL(item); err != nil {
			return nil, err
		}
		urls = append(urls, item)
	}
	return urls, nil
}

// checkNATS returns an error if the settings for NATS are not valid.
func (s *gatewaySettings) checkNATS() error {
	if len(s.nats.urls) == 0 {
		if len(s.zeeks) == 0 {
			return errors.New("--zeek is none, and --nats-url is not set: there are no messages")
		}
		return nil
	}
	if len(s.zeeks) == 0 && s.nats.receive == receiveNone {
		return errors.New("--zeek and --nats-receive are none: there are no messages")
	}
	c := s.nats.config()
	c.Gateway = "check" // it has no ID yet
	_, err := bridge.New(c)
	return err
}

// config returns the configuration of the bridge to NATS, except for its gateway.
func (n natsSettings) config() bridge.Config {
	return bridge.Config{
		URLs: n.urls, Credentials: n.credentials, CA: n.ca, Cert: n.cert, Key: n.key,
		Stream: n.stream, Prefix: n.prefix, Queue: n.queue * mebibyte,
	}
}

// bridge returns the bridge of a gateway to NATS.
func (s *gatewayService) bridge(g *gateway.Gateway) (*bridge.Bridge, error) {
	c := s.settings.nats.config()
	c.Gateway, c.Topics, c.Log = g.ID(), s.settings.topics, s.log
	if receive := s.settings.nats.receive; receive != receiveNone {
		c.Deliver = func(ctx context.Context, zeek string, m broker.Message) {
			g.Relay(ctx, zeek, m, receive == receiveAll && zeek == "")
		}
	}
	if len(s.settings.zeeks) == 0 && s.operation != nil { // otherwise readers get messages without NATS
		s.operation.service.Health.Set("NATS", natsTrouble(false, nil))
		c.Connected = func(connected bool, err error) {
			s.operation.service.Health.Set("NATS", natsTrouble(connected, err))
		}
	}
	return bridge.New(c)
}

// natsTrouble returns the reason why a gateway that needs NATS is not ready, "" if it is. The error
// is nil if it is not known.
func natsTrouble(connected bool, err error) string {
	switch {
	case connected:
		return ""
	case err == nil:
		return "not connected"
	}
	return fmt.Sprintf("not connected: %v", err)
}
