package alerts

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"net"
	"net/mail"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// smtpServer is a small mail server (RFC 5321) with STARTTLS, or TLS from the beginning, and
// authentication by PLAIN.
type smtpServer struct {
	t        *testing.T
	listener net.Listener
	config   *tls.Config // nil: no TLS
	implicit bool
	refuses  string // response to the recipients; "": they are accepted
	password string // "": no authentication

	group sync.WaitGroup
	mu    sync.Mutex
	mails []letter
}

// letter is a mail that the server has received.
type letter struct {
	from, user string
	to         []string
	encrypted  bool
	header     mail.Header
	body       string
}

// newSMTPServer starts a server, and returns it with the authorities that its certificate is
// from. It ends with the test.
func newSMTPServer(t *testing.T, change func(*smtpServer)) (*smtpServer, *x509.CertPool) {
	t.Helper()
	authority := certtest.New(t)
	certFile, keyFile := authority.Issue(t, "127.0.0.1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(authority.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	s := &smtpServer{t: t, config: &tls.Config{Certificates: []tls.Certificate{cert}}}
	if change != nil {
		change(s)
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.group.Go(s.accept)
	t.Cleanup(func() {
		s.listener.Close()
		s.group.Wait()
	})
	return s, pool
}

func (s *smtpServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.group.Go(func() {
			defer conn.Close()
			s.serve(conn)
		})
	}
}

func (s *smtpServer) received() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

// serve serves one connection.
func (s *smtpServer) serve(conn net.Conn) {
	var l letter
	if s.implicit {
		conn, l.encrypted = tls.Server(conn, s.config), true
	}
	r := bufio.NewReader(conn)
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		switch verb = strings.ToUpper(verb); {
		case verb == "EHLO":
			say("250-test")
			if s.config != nil && !l.encrypted {
				say("250-STARTTLS")
			}
			if s.password != "" {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case verb == "STARTTLS" && s.config != nil:
			say("220 go ahead")
			conn, l.encrypted = tls.Server(conn, s.config), true
			r = bufio.NewReader(conn)
		case verb == "AUTH":
			s.authenticate(&l, rest, say)
		case verb == "MAIL":
			l.from, l.to = line, nil
			say("250 ok")
		case verb == "RCPT" && s.refuses != "":
			say("%s", s.refuses)
		case verb == "RCPT":
			l.to = append(l.to, rest)
			say("250 ok")
		case verb == "DATA":
			say("354 go ahead")
			s.take(l, r)
			say("250 ok")
		case verb == "QUIT":
			say("221 bye")
			return
		case verb == "NOOP", verb == "RSET":
			say("250 ok")
		default:
			say("502 unknown")
		}
	}
}

func (s *smtpServer) authenticate(l *letter, rest string, say func(string, ...any)) {
	_, text, _ := strings.Cut(rest, " ")
	b, err := base64.StdEncoding.DecodeString(text)
	words := strings.Split(string(b), "\x00")
	if err != nil || len(words) != 3 || words[2] != s.password {
		say("535 authentication failed")
		return
	}
	l.user = words[1]
	say("235 ok")
}

// take reads a mail until the line with a dot.
func (s *smtpServer) take(l letter, r *bufio.Reader) {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	m, err := mail.ReadMessage(strings.NewReader(text.String()))
	if err != nil {
		s.t.Errorf("the mail cannot be read: %v", err)
		return
	}
	b, _ := io.ReadAll(m.Body)
	l.header, l.body = m.Header, string(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, l)
}

// subject returns the subject of a mail.
func (l letter) subject() string {
	text, err := new(mime.WordDecoder).DecodeHeader(l.header.Get("Subject"))
	if err != nil {
		return err.Error()
	}
	return text
}
