package attack

import (
	"math/rand/v2"
	"net"
	"time"

	"github.com/google/uuid"
)

// connecting attacks any listener, by connections that send little or nonsense.
var connecting = []Attack{
	{"silent connections", "200 connections that send nothing, and are opened again", func(a *attacker) { a.opening(200, "") }},
	{"many silent connections", "3000 connections that send nothing", func(a *attacker) { a.opening(3000, "") }},
	{"half a TLS hello", "200 connections with the beginning of a TLS handshake", func(a *attacker) {
		a.opening(200, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	}},
	{"TLS records of one byte", "200 connections that send a TLS handshake one byte at a time", func(a *attacker) {
		a.slowly(200, func(i int) string { return "\x16\x03\x01\x00\x01\x01" })
	}},
	{"half a request", "200 connections with the beginning of an HTTP request", func(a *attacker) { a.opening(200, "GET /v1/messages/json HTTP/1.1\r\nHost: ") }},
	{"slow headers", "200 HTTP requests with headers that never end (slowloris)", func(a *attacker) {
		a.slowly(200, func(i int) string {
			if i == 0 {
				return "GET / HTTP/1.1\r\nHost: localhost\r\n"
			}
			return "X-A: b\r\n"
		})
	}},
	{"churn", "connections that are opened and closed at once", func(a *attacker) {
		a.crowd(16, func(int) {
			for range 20 {
				if c := a.tcp(); c != nil {
					a.did()
					c.Close()
				}
			}
		})
	}},
	{"resets", "connections that are reset", func(a *attacker) {
		a.crowd(16, func(int) {
			for range 20 {
				if c := a.tcp(); c != nil {
					a.did()
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			}
		})
	}},
	{"peers without certificates", "peers that use anonymous TLS where certificates are required", func(a *attacker) {
		a.crowd(16, func(int) {
			p := a.peer(uuid.New(), everything)
			a.did()
			if p != nil {
				a.breach("a peer without a certificate can connect")
				p.Close()
			}
		})
	}},
	{"random bytes", "connections that send random bytes", func(a *attacker) {
		a.crowd(16, func(int) {
			c := a.tcp()
			if c == nil {
				return
			}
			defer c.Close()
			b := make([]byte, 1+rand.IntN(4096))
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			c.Write(b)
			a.did()
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			c.Read(b)
		})
	}},
}

// opening holds n connections that sent text. It opens those again that the target
// closes.
func (a *attacker) opening(n int, text string) {
	a.crowd(n, func(int) {
		c := a.tcp()
		if c == nil {
			return
		}
		defer c.Close()
		c.Write([]byte(text))
		a.hold(c)
	})
}

// slowly holds n connections, and sends the texts that next returns one after the
// other.
func (a *attacker) slowly(n int, next func(i int) string) {
	a.crowd(n, func(int) {
		c := a.tcp()
		if c == nil {
			return
		}
		defer c.Close()
		for i := 0; ; i++ {
			if _, err := c.Write([]byte(next(i))); err != nil || !a.wait(200*time.Millisecond) {
				return
			}
			a.did()
		}
	})
}
