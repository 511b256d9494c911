package security

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var brokerOptions = []string{"-cipher", "AECDH-AES256-SHA@SECLEVEL=0", "-groups", "P-384"}

// TestOpenSSL connects to the openssl program, which has Broker's settings.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("NOT TESTED AGAINST A LIVE PEER: the openssl program is not installed")
	}
	ca := newAuthority(t)
	ours, theirs := ca.node(t, "ours"), ca.node(t, "theirs")
	mutualOptions := []string{"-cipher", "HIGH:!aNULL:!MD5", "-CAfile", theirs.CAFile, "-cert", theirs.CertFile, "-key", theirs.KeyFile}
	tests := []struct {
		name    string
		config  Config
		dialed  bool
		options []string
		want    string // name of the peer
	}{
		{"anonymous, we dial", Config{}, true, append(brokerOptions, "-nocert"), ""},
		{"anonymous, it dials", Config{}, false, brokerOptions, ""},
		{"anonymous, it dials with TLS 1.2", Config{}, false, append(brokerOptions, "-tls1_2"), ""},
		{"mutual, we dial", ours, true, append(mutualOptions, "-Verify", "1", "-verify_return_error"), "theirs"},
		{"mutual, it dials", ours, false, append(mutualOptions, "-verify_return_error"), "theirs"},
		{"mutual, it dials with TLS 1.2", ours, false, append(mutualOptions, "-verify_return_error", "-tls1_2"), "theirs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var conn net.Conn
			if tt.dialed {
				conn = dialOpenSSL(t, tt.options)
			} else {
				conn = acceptOpenSSL(t, tt.options)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute)) // fail instead of hanging
			c, err := newLayer(t, tt.config).Secure(t.Context(), conn, tt.dialed)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := strings.Join(peerNames(c), " "); got != tt.want {
				t.Errorf("the peer is %q, want %q", got, tt.want)
			}
			say, want := "hello\n", "olleh\n"
			if !tt.dialed {
				want = "hello from stdin\n"
			}
			io.WriteString(c, say)
			got, err := bufio.NewReader(c).ReadString('\n')
			if got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

// TestOpenSSLMismatch connects two ends of which only one has certificates.
func TestOpenSSLMismatch(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("NOT TESTED AGAINST A LIVE PEER: the openssl program is not installed")
	}
	ca := newAuthority(t)
	ours, theirs := ca.node(t, "ours"), ca.node(t, "theirs")
	mutualOptions := []string{"-cipher", "HIGH:!aNULL:!MD5", "-CAfile", theirs.CAFile, "-cert", theirs.CertFile, "-key", theirs.KeyFile}
	tests := []struct {
		name    string
		config  Config
		dialed  bool
		options []string
		want    string
	}{
		{"we dial without certificates", Config{}, true, append(mutualOptions, "-Verify", "1"), "may require certificates"},
		{"we dial with certificates", ours, true, append(brokerOptions, "-nocert"), "may have no certificates"},
		{"it dials without certificates", ours, false, brokerOptions, "the peer uses anonymous TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var conn net.Conn
			if tt.dialed {
				conn = dialOpenSSL(t, tt.options)
			} else {
				conn = acceptOpenSSL(t, tt.options)
			}
			_, err := newLayer(t, tt.config).Secure(t.Context(), conn, tt.dialed)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// dialOpenSSL connects to a program that returns lines reversed.
func dialOpenSSL(t *testing.T, options []string) net.Conn {
	t.Helper()
	args := append([]string{"s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-rev"}, options...)
	cmd := exec.Command("openssl", args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	r := bufio.NewReader(stdout)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("openssl printed no address: %v", err)
		}
		if addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ACCEPT "); ok {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			t.Cleanup(func() { <-done })
			go func() {
				defer close(done)
				io.Copy(io.Discard, r)
			}()
			return conn
		}
	}
}

// acceptOpenSSL accepts a program that sends one line.
func acceptOpenSSL(t *testing.T, options []string) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	args := append([]string{"s_client", "-connect", l.Addr().String(), "-quiet"}, options...)
	cmd := exec.Command("openssl", args...)
	cmd.Stdin = strings.NewReader("hello from stdin\n")
	start(t, cmd)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// start starts a program, and ends it at the end of the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("openssl: %.2000s", stderr.String())
		}
	})
}
