package attack

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
)

// webSockets attacks WebSocket ports.
var webSockets = []Attack{
	{"idle clients", "300 clients that subscribe, answer pings, and stay", func(a *attacker) {
		a.clients(300, func(c *webClient) { a.hold(c) })
	}},
	{"silent clients", "200 WebSockets that send nothing after the upgrade", func(a *attacker) {
		a.crowd(200, func(int) {
			if c := a.upgrade(nil); c != nil {
				defer c.Close()
				a.hold(c)
			}
		})
	}},
	{"clients that do not answer pings", "200 clients that subscribe, and then neither read nor send", func(a *attacker) {
		a.clients(200, func(c *webClient) {
			a.did()
			<-a.ctx.Done()
		})
	}},
	{"giant messages", "60 clients that announce messages of 60 MB, send most of them, and dribble", func(a *attacker) {
		frame := append(header(true, websocket.TextMessage, giant), bytes.Repeat([]byte(" "), giant-1000)...)
		a.clients(60, func(c *webClient) { a.dribble(c, frame, 900) })
	}},
	{"giant messages before the subscriptions", "60 clients whose first message has 60 MB, and dribbles", func(a *attacker) {
		frame := append(header(true, websocket.TextMessage, giant), bytes.Repeat([]byte(" "), giant-1000)...)
		a.crowd(60, func(int) {
			if c := a.upgrade(nil); c != nil {
				defer c.Close()
				a.dribble(c, frame, 900)
			}
		})
	}},
	{"large messages", "60 clients that send most of a message of 12 MB, and dribble", func(a *attacker) {
		frame := append(header(true, websocket.TextMessage, large), bytes.Repeat([]byte(" "), large-1000)...)
		a.clients(60, func(c *webClient) { a.dribble(c, frame, 900) })
	}},
	{"large messages that are full", "60 clients that send messages of 12 MB without end", func(a *attacker) {
		text := jsonv1.Append(nil, jsonv1.Data{Topic: stock.Topics.Controller, Value: broker.NewEvent("x", broker.String(strings.Repeat("x", large))).Value()})
		a.clients(60, func(c *webClient) {
			for c.text(text) == nil {
				a.did()
			}
		})
	}},
	{"fragmented messages", "60 clients that send a message of 60 MB in fragments and never end it", func(a *attacker) {
		part := append(header(false, 0, 64<<10), make([]byte, 64<<10)...)
		a.clients(60, func(c *webClient) {
			c.Write(header(false, websocket.TextMessage, 0))
			for range giant/(64<<10) - 1 {
				if _, err := c.Write(part); err != nil {
					return
				}
				a.did()
			}
			a.hold(c)
		})
	}},
	{"empty fragments", "20 clients that send empty fragments without end", func(a *attacker) {
		empty := []byte(strings.Repeat(string(header(false, 0, 0)), 100))
		a.clients(20, func(c *webClient) {
			c.Write(header(false, websocket.TextMessage, 0))
			a.repeat(c, empty)
		})
	}},
	{"messages that are full", "60 clients that send messages of 60 MB without end", func(a *attacker) {
		text := jsonv1.Append(nil, jsonv1.Data{Topic: "/", Value: broker.String(strings.Repeat("x", giant))})
		a.clients(60, func(c *webClient) {
			for c.text(text) == nil {
				a.did()
			}
		})
	}},
	{"small JSON values", "30 clients that send messages of a million small values", func(a *attacker) {
		text := jsonv1.Append(nil, jsonv1.Data{Topic: stock.Topics.Controller, Value: broker.NewEvent("x", broker.Vector(make([]broker.Value, 1_000_000)...)).Value()})
		a.clients(30, func(c *webClient) {
			for c.text(text) == nil {
				a.did()
			}
		})
	}},
	{"deep JSON", "clients that send a million nested JSON arrays", func(a *attacker) {
		plain := []byte(strings.Repeat("[", 1_000_000))
		typed := []byte(`{"type":"data-message","topic":"/x",` + strings.Repeat(`"@data-type":"vector","data":[{`, 200_000))
		a.clients(8, func(c *webClient) {
			for c.text(plain) == nil && c.text(typed) == nil {
				a.did()
			}
		})
	}},
	{"strange JSON", "clients that send JSON that is no message, or no JSON", func(a *attacker) {
		texts := []string{
			"", "null", "1e999999", `"\ud800"`, `{"type":null}`, `[[[]]]`, "\xff\xfe", `{"type":"data-message","topic":1}`,
			`{"type":"data-message","topic":"","@data-type":"count","data":-1}`, `{"type":"data-message","topic":"x","@data-type":"timespan","data":"1e99d"}`,
			`{"type":"data-message","topic":"x","@data-type":"subnet","data":"::/999"}`, `{"type":"error"}`, `{"type":"ack"}`,
		}
		a.clients(8, func(c *webClient) {
			for range 100 {
				if c.text([]byte(texts[rand.IntN(len(texts))])) != nil {
					return
				}
				a.did()
			}
		})
	}},
	{"giant subscriptions", "60 clients that subscribe to 20 MB of topics", func(a *attacker) {
		var topics jsonv1.Subscriptions
		for i := range 400_000 {
			topics = append(topics, fmt.Sprintf("/%040d", i))
		}
		a.crowd(60, func(int) {
			if c := a.client(topics); c != nil {
				defer c.Close()
				a.hold(c)
			}
		})
	}},
	{"WebSocket pings", "20 clients that send pings and read no pongs", func(a *attacker) {
		ping := append(header(true, websocket.PingMessage, 125), make([]byte, 125)...)
		a.clients(20, func(c *webClient) { a.repeat(c, ping) })
	}},
	{"invalid frames", "clients that send frames that are not allowed", func(a *attacker) {
		frames := [][]byte{
			{0x83, 0x80, 0, 0, 0, 0}, {0xf1, 0x80, 0, 0, 0, 0}, {0x81, 0x01, 'x'}, {0x89, 0xfe, 0xff, 0xff, 0, 0, 0, 0}, {0x80, 0x80, 0, 0, 0, 0},
			{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, {0x88, 0x81, 0, 0, 0, 0, 1}, {0x09, 0x80, 0, 0, 0, 0},
		}
		a.clients(16, func(c *webClient) {
			c.Write(frames[rand.IntN(len(frames))])
			a.did()
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			c.Read(make([]byte, 100))
		})
	}},
	{"compression", "clients that ask for compression, and send a compressed gigabyte if they get it", func(a *attacker) {
		a.crowd(8, func(int) {
			c := a.upgrade(http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate"}})
			if c == nil {
				return
			}
			defer c.Close()
			a.did()
			if strings.Contains(c.response.Header.Get("Sec-WebSocket-Extensions"), "deflate") {
				b := deflated(1 << 30)
				head := header(true, websocket.TextMessage, len(b))
				head[0] |= 0x40 // compressed
				c.Write(append(head, b...))
			}
			a.wait(time.Second)
		})
	}},
	{"upgrades", "clients that upgrade and leave", func(a *attacker) {
		a.clients(32, func(*webClient) { a.did() })
	}},
	{"application names", "clients with long names, and names with control characters", func(a *attacker) {
		a.crowd(8, func(i int) {
			name := strings.Repeat("x", 15_000)
			if i%2 == 0 {
				name = "x\x1b[2J\u202e\u009b31m"
			}
			if c := a.upgrade(http.Header{"X-Application-Name": {name}, "User-Agent": {name}}); c != nil {
				c.text(jsonv1.Append(nil, jsonv1.Subscriptions{"/"}))
				a.did()
				c.Close()
			}
		})
	}},
	{"guessed tokens", "clients that guess tokens", func(a *attacker) {
		a.crowd(16, func(int) {
			c := a.upgrade(http.Header{"Authorization": {"Bearer " + uuid.NewString()}})
			a.did()
			if c != nil {
				a.breach("a client with a guessed token can connect")
				c.Close()
			}
		})
	}},
	{"DNS rebinding", "a page of another site whose name resolves to this address", func(a *attacker) {
		a.crowd(2, func(int) {
			c := a.upgrade(http.Header{
				"Host": {"evil.example"}, "Origin": {"http://evil.example"},
				"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64)"}, "Accept-Language": {"en"},
			})
			a.did()
			if c != nil {
				a.breach("the page can connect")
				c.Close()
			}
		})
	}},
}

// webClient is a WebSocket after its upgrade.
type webClient struct {
	net.Conn
	response *http.Response
}

// upgrade opens a WebSocket, or returns nil.
func (a *attacker) upgrade(h http.Header) *webClient {
	c := a.dial()
	if c == nil {
		return nil
	}
	a.did()
	c.SetDeadline(time.Now().Add(dialTimeout))
	host := "localhost"
	if h.Get("Host") != "" {
		host = h.Get("Host")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", jsonv1.Path, host)
	b.WriteString("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
	for key, values := range h {
		if key != "Host" {
			fmt.Fprintf(&b, "%s: %s\r\n", key, values[0])
		}
	}
	b.WriteString("\r\n")
	if _, err := c.Write([]byte(b.String())); err != nil {
		c.Close()
		return nil
	}
	reader := bufio.NewReader(c)
	response, err := http.ReadResponse(reader, nil) //nolint:bodyclose // the connection is closed
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		c.Close()
		return nil
	}
	c.SetDeadline(time.Time{})
	return &webClient{Conn: c, response: response}
}

// client opens a WebSocket and sends subscriptions, or returns nil.
func (a *attacker) client(topics jsonv1.Subscriptions) *webClient {
	c := a.upgrade(nil)
	if c == nil {
		return nil
	}
	if c.text(jsonv1.Append(nil, topics)) != nil {
		c.Close()
		return nil
	}
	return c
}

// clients keeps n clients connected that subscribe to everything. It calls act for
// each, and closes the connection when act returns.
func (a *attacker) clients(n int, act func(*webClient)) {
	a.crowd(n, func(int) {
		if c := a.client(jsonv1.Subscriptions{""}); c != nil {
			defer c.Close()
			act(c)
		}
	})
}

// header returns the header of a frame of a client, with a mask of zeros.
func header(final bool, opcode, size int) []byte {
	b := []byte{byte(opcode), 0x80 | 127}
	if final {
		b[0] |= 0x80
	}
	switch {
	case size < 126:
		b[1] = 0x80 | byte(size)
	case size < 1<<16:
		b[1] = 0x80 | 126
		b = binary.BigEndian.AppendUint16(b, uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(b, uint64(size))
	}
	return append(b, 0, 0, 0, 0)
}

// text sends a text message.
func (c *webClient) text(b []byte) error {
	if _, err := c.Write(header(true, websocket.TextMessage, len(b))); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}
