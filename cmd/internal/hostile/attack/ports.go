package attack

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// ports attacks the ports for the HTTP API, for machines that join, and for the readers of
// a gateway.
var ports = []Attack{
	{"slow bodies", "300 requests whose bodies arrive a byte at a time", func(a *attacker) {
		a.crowd(300, func(int) {
			c := a.begin("Content-Length: 10000\r\n\r\n{")
			if c == nil {
				return
			}
			defer c.Close()
			for a.wait(200 * time.Millisecond) {
				if _, err := c.Write([]byte(" ")); err != nil {
					return
				}
				a.did()
			}
		})
	}},
	{"bodies without end", "16 requests with JSON that does not end", func(a *attacker) {
		chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat("[", 64<<10))
		a.crowd(16, func(int) {
			if c := a.begin("Transfer-Encoding: chunked\r\n\r\n"); c != nil {
				defer c.Close()
				a.repeat(c, []byte(chunk))
			}
		})
	}},
	{"guessed secrets", "16 clients that guess the secrets of join files and tokens", func(a *attacker) {
		a.crowd(16, func(int) {
			guess := make([]byte, 32)
			rand.Read(guess)
			secret := base64.RawURLEncoding.EncodeToString(guess)
			body := fmt.Sprintf(`{"secret":%q,"request":""}`, secret)
			c := a.begin(fmt.Sprintf("Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", secret, len(body), body))
			if c == nil {
				return
			}
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(dialTimeout))
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil && response.StatusCode < http.StatusBadRequest {
				a.breach("a guessed secret was accepted: " + response.Status)
			}
		})
	}},
	{"unread streams", "300 requests for Server-Sent Events that are not read", func(a *attacker) {
		a.streams(300, func(net.Conn) { <-a.ctx.Done() })
	}},
	{"slow streams", "300 requests for Server-Sent Events that are read a byte at a time", func(a *attacker) {
		a.streams(300, func(c net.Conn) { a.sip(c) })
	}},
	{"slow readers", "300 clients that read a byte at a time", func(a *attacker) {
		a.clients(300, func(c *webClient) { a.sip(c) })
	}},
	{"largest filters", "100 streams and WebSockets with as many topics and patterns as fit", func(a *attacker) {
		topics := jsonv1.Subscriptions{"zeek/"}
		query := "?topic=zeek/"
		for i := range 2000 {
			topics = append(topics, fmt.Sprintf("zeek/%0240d", i))
		}
		for i := range 100 {
			query += fmt.Sprintf("&event=*S*o*m*e*:*:*[e]*?*v*e*n*%d", i)
		}
		a.crowd(100, func(i int) {
			if i%2 == 0 {
				if c := a.client(topics); c != nil {
					defer c.Close()
					a.hold(c)
				}
				return
			}
			if c := a.get(query); c != nil {
				defer c.Close()
				a.hold(c)
			}
		})
	}},
	{"streams that come and go", "32 streams that are closed as soon as they begin", func(a *attacker) {
		a.streams(32, func(c net.Conn) { c.Read(make([]byte, 1)) })
	}},
	{"abandoned uploads", "60 clients that upload the first part of a site, leave, and come back with another", func(a *attacker) {
		part := make([]byte, zeekapi.MaxSitePart)
		a.crowd(60, func(int) {
			s := a.speaker(true)
			if s == nil {
				return
			}
			defer s.close()
			s.ask(zeekapi.UploadSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{Site: siteID(), Size: 200 << 20, Data: string(part)}})
		})
	}},
	{"shared uploads", "30 clients that upload parts of the same site in any order, and never all", func(a *attacker) {
		part, site := make([]byte, zeekapi.MaxSitePart), siteID()
		a.speakers(30, true, func(s *speaker) {
			for i := range uint64(8) {
				s.ask(zeekapi.UploadSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{
					Site: site, Size: 9 * zeekapi.MaxSitePart, Offset: (i * 5 % 8) * zeekapi.MaxSitePart, Data: string(part),
				}})
			}
		})
	}},
}

// begin opens a connection and begins a request to change something. Rest has further
// headers and the beginning of the body. It returns nil if that fails.
func (a *attacker) begin(rest string) net.Conn {
	return a.started("POST " + a.target.Post + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + rest)
}

// get opens a connection and requests a stream. It returns nil if that fails.
func (a *attacker) get(query string) net.Conn {
	return a.started("GET " + a.target.Stream + query + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
}

func (a *attacker) started(text string) net.Conn {
	c := a.dial()
	if c == nil {
		return nil
	}
	a.did()
	if _, err := c.Write([]byte(text)); err != nil {
		c.Close()
		return nil
	}
	return c
}

// streams keeps n streams open. It calls act for each, and closes it when act returns.
func (a *attacker) streams(n int, act func(net.Conn)) {
	a.crowd(n, func(i int) {
		if c := a.get("?attack=" + uuid.NewString()); c != nil {
			defer c.Close()
			act(c)
		}
	})
}

// sip reads a byte at a time until the connection ends.
func (a *attacker) sip(c net.Conn) {
	for a.wait(100 * time.Millisecond) {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}
