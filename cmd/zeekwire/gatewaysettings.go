package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/gateway"
	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/address"
	"github.com/zeekwire/zeekwire/cmd/internal/listening"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// namedZeek is a Zeek that a gateway connects to.
type namedZeek struct{ name, address string }

// gatewaySettings holds all settings of a gateway.
type gatewaySettings struct {
	serviceSettings
	zeeks     []namedZeek
	transport string
	topics    []string
	listen    string
	web       security.WebConfig
	clients   string // name of the file with accepted readers

	messages, space, readers, queue int
	slow                            string

	nats natsSettings
}

// Values of --slow-readers.
const (
	slowSkip       = "skip"
	slowDisconnect = "disconnect"
)

var listeningForReaders = listening.Purpose{For: "readers", Flag: "--listen"}

func newGatewaySettings() *gatewaySettings {
	s := &gatewaySettings{
		serviceSettings: newServiceSettings("gateway", "Gateway", "ZEEK_GATEWAY"),
		zeeks:           []namedZeek{{"127.0.0.1:9999", "127.0.0.1:9999"}},
		transport:       transportBroker,
		topics:          []string{"zeek/"},
		listen:          "127.0.0.1:9997",
		messages:        gateway.DefaultMessages, space: gateway.DefaultBytes / mebibyte,
		readers: gateway.DefaultMaxReaders, queue: gateway.DefaultReaderQueue, slow: slowSkip, nats: defaultNATS(),
	}
	s.addZeeks()
	s.addReaders()
	s.addNATS()
	s.addDefaultAddress()
	s.addOperation()
	return s
}

// addZeeks adds the settings for the Zeeks and the connections to them.
func (s *gatewaySettings) addZeeks() {
	s.t.Group("Zeeks")
	s.t.Add(
		settings.Setting{
			Name: "name", Value: settings.Text(&s.name), Common: true,
			Help: "`NAME` of the gateway; empty: gateway-HOSTNAME",
		},
		settings.Setting{
			Name: "zeek", Value: settings.Parsed(&s.zeeks, parseZeeks, joinZeeks), Common: true,
			Help: "`LIST` of Zeeks to connect to, as HOST:PORT or NAME=HOST:PORT; readers get the name with each message; none, with --nats-url: only the messages of other gateways",
		},
		settings.Setting{
			Name: "zeek-transport", Value: settings.Choice(&s.transport, transportBroker, transportWebSocket), Common: true,
			Help: "`KIND` of connection to Zeeks: broker (native) or websocket; both with the TLS of --tls",
		},
		settings.Setting{
			Name: "subscribe", Value: settings.Parsed(&s.topics, parseTopics, joinPatterns), Common: true,
			Help: "`LIST` of prefixes of the topics that readers may get",
		},
	)
	s.addConnecting()
	s.t.Group("TLS between Zeeks and gateway")
	s.t.Add(s.tls.Settings()...)
}

// addReaders adds the settings for readers.
func (s *gatewaySettings) addReaders() {
	s.t.Group("Readers")
	s.t.Add(
		settings.Setting{
			Name: "listen", Value: settings.Parsed(&s.listen, parseListen, func(a string) string { return a }), Common: true,
			Help: "`HOST:PORT` to listen at for readers",
		},
		settings.Setting{
			Name: "readers-tls-cert", Value: settings.Text(&s.web.CertFile), Common: true,
			Help: "PEM `FILE` with the gateway's certificate for readers; enables TLS",
		},
		settings.Setting{
			Name: "readers-tls-key", Value: settings.Text(&s.web.KeyFile), Common: true,
			Help: "PEM `FILE` with the private key of --readers-tls-cert; its passphrase, if any, is read from " + webPassphraseVar,
		},
		settings.Setting{
			Name: "readers-tls-ca", Value: settings.Text(&s.web.CAFile), Common: true,
			Help: "PEM `FILE` with the authorities that issue readers' certificates",
		},
		settings.Setting{
			Name: "clients", Value: settings.Text(&s.clients), Common: true,
			Help: "`FILE` with accepted readers, in lines NAME full|read-only sha256:HEX|token:TEXT|certificate; those with the role full may publish; empty: every reader may read, and none may publish",
		},
		settings.Setting{
			Name: "max-readers", Value: settings.Count(&s.readers, 1, 1_000_000),
			Help: "`NUMBER` of readers at the same time",
		},
		settings.Setting{
			Name: "reader-queue", Value: settings.Count(&s.queue, 1, 10_000_000),
			Help: "`NUMBER` of messages, of all topics, that a reader may be behind",
		},
		settings.Setting{
			Name: "slow-readers", Value: settings.Choice(&s.slow, slowSkip, slowDisconnect),
			Help: "`ACTION` on readers that exceed reader-queue: skip (messages) or disconnect",
		},
		settings.Setting{
			Name: "keep-messages", Value: settings.Count(&s.messages, 1, 10_000_000),
			Help: "`NUMBER` of messages to keep for readers that connect again",
		},
		settings.Setting{
			Name: "keep-memory", Value: settings.Count(&s.space, 1, maxSiteSpace),
			Help: "`MIB` of memory for the messages of keep-messages, and as much again for those of WebSocket clients",
		},
	)
}

func parseZeeks(text string) ([]namedZeek, error) {
	if text == noZeeks {
		return nil, nil
	}
	var zeeks []namedZeek
	for item := range strings.SplitSeq(text, ",") {
		name, at, named := strings.Cut(strings.TrimSpace(item), "=")
		if !named {
			at = name
		}
		host, port, err := address.SplitBoth(at, "9999")
		switch {
		case err != nil:
			return nil, err
		case host == "" || port == "0" || name == "":
			return nil, errors.New("want HOST:PORT or NAME=HOST:PORT")
		}
		z := namedZeek{name, net.JoinHostPort(host, port)}
		if slices.ContainsFunc(zeeks, func(o namedZeek) bool { return o.name == z.name }) {
			return nil, fmt.Errorf("there are two Zeeks called %q", z.name)
		}
		zeeks = append(zeeks, z)
	}
	return zeeks, nil
}

// noZeeks is the value of --zeek for a gateway that gets all messages from other gateways.
const noZeeks = "none"

func joinZeeks(zeeks []namedZeek) string {
	if len(zeeks) == 0 {
		return noZeeks
	}
	items := make([]string, len(zeeks))
	for i, z := range zeeks {
		if items[i] = z.address; z.name != z.address {
			items[i] = z.name + "=" + z.address
		}
	}
	return strings.Join(items, ", ")
}

func parseTopics(text string) ([]string, error) {
	var topics []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" || len(item) > broker.MaxTopicLen || strings.HasPrefix(item, broker.ControlTopic) {
			return nil, errors.New("want prefixes of topics, such as zeek/ or /")
		}
		topics = append(topics, item)
	}
	return topics, nil
}

func parseListen(text string) (string, error) {
	host, port, err := address.SplitBoth(text, "9997")
	return net.JoinHostPort(host, port), err
}

// preflight reports all problems that prevent a start of the gateway.
func (s *gatewaySettings) preflight(ctx context.Context) error {
	var p preflight
	p.add(s.checkNATS())
	p.port(ctx, listening.Purpose{For: "metrics", Flag: "--metrics-listen"}, s.metrics.at(s.defaultAddress))
	p.port(ctx, listeningForReaders, s.listen)
	return p.err()
}

// config returns the configuration of the gateway, except for parts of the service.
func (s *gatewaySettings) config() gateway.Config {
	c := gateway.Config{
		Messages: s.messages, Bytes: s.space * mebibyte, MaxReaders: s.readers, ReaderQueue: s.queue, Endpoint: s.name,
	}
	if s.slow == slowDisconnect {
		c.Slow = broker.OverflowDisconnect
	}
	return c
}

// gate returns the access rules for readers.
func (s *gatewaySettings) gate(log zerolog.Logger) (gate, error) {
	g := gate{log: log}
	if err := g.load(s.clients); err != nil {
		return gate{}, err
	}
	if s.web == (security.WebConfig{}) {
		return g, nil
	}
	err := g.secure(s.web, "readers", "--readers-tls")
	return g, err
}

// exposure returns who can reach the gateway.
func (s *gatewaySettings) exposure() zeekapi.Exposure {
	port := zeekapi.ExposedPort{Purpose: "readers (HTTP, WebSocket)", Address: s.listen, TLS: "off: all can be read and changed on the way"}
	if s.web.CertFile != "" {
		port.TLS = "on"
	}
	switch {
	case s.clients != "":
		port.Peers = []zeekapi.ExposedPeers{{Who: "the clients in " + s.clients, May: "read all messages; those with the role full may also publish to the Zeeks", Commands: true}}
	case s.web.CAFile != "":
		port.Peers = []zeekapi.ExposedPeers{{Who: "holders of a certificate of " + s.web.CAFile, May: "read all messages"}}
	default:
		port.Peers = []zeekapi.ExposedPeers{{Who: zeekapi.Anybody, May: "read all messages"}}
	}
	e := zeekapi.Exposure{Ports: append([]zeekapi.ExposedPort{port}, s.metricsPort()...)}
	if s.nats.receive == receiveAll {
		e.Warnings = append(e.Warnings, "anybody who may publish to the stream "+s.nats.stream+" in NATS may publish to the Zeeks: --nats-receive is "+receiveAll)
	}
	if !onLoopback(s.listen) && s.clients == "" && s.web.CAFile == "" {
		e.Warnings = append(e.Warnings, fmt.Sprintf("anybody who reaches %s may read all messages; set --clients and --readers-tls-cert", s.listen))
	}
	return e
}

// certificateFiles returns the files with the certificates of the gateway.
func (s *gatewaySettings) certificateFiles() []string {
	files := []string{s.tls.Certificate(), s.tls.Authority(), s.web.CertFile, s.web.CAFile, s.nats.cert, s.nats.ca}
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}
