package attack

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"time"
)

// httpRequests attacks ports that speak HTTP, those for WebSockets included.
var httpRequests = []Attack{
	{"huge headers", "requests with megabytes of headers", func(a *attacker) {
		line := "X-A: " + strings.Repeat("b", 4000) + "\r\n"
		a.request(16, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat(line, 500))
	}},
	{"huge request line", "requests with a path of a megabyte", func(a *attacker) {
		a.request(16, "GET /"+strings.Repeat("x", 1<<20)+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}},
	{"huge bodies", "requests with a body of gigabytes", func(a *attacker) {
		body := strings.Repeat("x", 1<<20)
		a.request(16, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n"+body+body+body)
	}},
	{"pipelined requests", "connections with thousands of requests, which do not read the responses", func(a *attacker) {
		requests := strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)
		a.crowd(100, func(int) {
			c := a.tcp()
			if c == nil {
				return
			}
			defer c.Close()
			a.repeat(c, []byte(requests))
		})
	}},
	{"idle HTTP connections", "500 connections that stay open after a request", func(a *attacker) {
		a.opening(500, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}},
	{"strange requests", "requests with strange methods, versions, headers and paths", func(a *attacker) {
		texts := []string{
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nffffffffffffffff\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /v1/messages/json HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\nSec-WebSocket-Key: \x01\r\n\r\n",
			"GET /\x1b[2J%00%0a HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n", "\r\n\r\n\r\n", "GET / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\nHost: x\r\n\r\n",
		}
		a.crowd(len(texts), func(i int) { a.send(texts[i]) })
	}},
}

// request sends a request again and again in n connections at a time.
func (a *attacker) request(n int, text string) {
	a.crowd(n, func(int) { a.send(text) })
}

// send sends a text in a connection of its own, and reads the beginning of the
// response.
func (a *attacker) send(text string) {
	c := a.tcp()
	if c == nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	a.did()
	if _, err := c.Write([]byte(text)); err != nil {
		return
	}
	c.Read(make([]byte, 100))
}

// deflated returns n compressed spaces.
func deflated(n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(fmt.Sprint("attack: ", err)) // the level is valid
	}
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range n >> 20 {
		w.Write(chunk)
	}
	w.Flush()
	return b.Bytes()
}
