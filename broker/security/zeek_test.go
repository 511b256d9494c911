package security

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTLSWithZeek meets every Zeek whose prefix is in the environment variable ZEEK,
// separated by commas, in both directions and modes.
func TestTLSWithZeek(t *testing.T) {
	if os.Getenv("ZEEK") == "" {
		t.Skip("NOT TESTED AGAINST A LIVE PEER: the environment variable ZEEK names no Zeek")
	}
	ca := newAuthority(t)
	theirs := encryptKey(t, ca.node(t, "zeek"), false, "sesame")
	withCerts := []string{
		"Broker::ssl_cafile=" + theirs.CAFile,
		"Broker::ssl_certificate=" + theirs.CertFile,
		"Broker::ssl_keyfile=" + theirs.KeyFile,
		"Broker::ssl_passphrase=sesame",
	}
	tests := []struct {
		name    string
		config  Config
		options []string // of Zeek
		want    string   // PeerNames
	}{
		{"anonymous", Config{}, nil, ""},
		{"mutual", ca.node(t, "ours"), withCerts, "zeek"},
		{"off", Config{Mode: Off}, []string{"Broker::disable_ssl=T"}, ""},
	}
	for _, prefix := range strings.Split(os.Getenv("ZEEK"), ",") {
		zeek := filepath.Join(prefix, "bin", "zeek")
		for _, tt := range tests {
			for name, connect := range map[string]func(*testing.T, string, []string) net.Conn{
				"we dial": dialZeek, "it dials": acceptZeek,
			} {
				t.Run(strings.TrimPrefix(filepath.Base(prefix), "zeek-")+"/"+tt.name+"/"+name, func(t *testing.T) {
					conn := connect(t, zeek, tt.options)
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(time.Minute)) // rather fail than hang
					c, err := newLayer(t, tt.config).Secure(t.Context(), conn, name == "we dial")
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					if got := strings.Join(PeerNames(c), " "); got != tt.want {
						t.Errorf("the peer is %q, want %q", got, tt.want)
					}
					// Whether it dials or not, Zeek says its magic word first: a length of
					// 4 bytes, a tag, and the word.
					greeting := make([]byte, 9)
					if _, err := io.ReadFull(c, greeting); err != nil {
						t.Fatal(err)
					}
					if !strings.HasSuffix(string(greeting), "ZEEK") {
						t.Errorf("Zeek greets with %q", greeting)
					}
				})
			}
		}
	}
}

// dialZeek connects to a Zeek that listens.
func dialZeek(t *testing.T, zeek string, options []string) net.Conn {
	t.Helper()
	stdout := startZeek(t, zeek, options, `event zeek_init() { print Broker::listen("127.0.0.1", 0/tcp); flush_all(); }`)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("zeek says no port: %v", err)
	}
	port, _, _ := strings.Cut(line, "/")
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// acceptZeek waits for a Zeek that dials.
func acceptZeek(t *testing.T, zeek string, options []string) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute))
	port := l.Addr().(*net.TCPAddr).Port
	startZeek(t, zeek, options, fmt.Sprintf(`event zeek_init() { Broker::peer("127.0.0.1", %d/tcp, 1sec); }`, port))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func startZeek(t *testing.T, zeek string, options []string, script string) io.Reader {
	t.Helper()
	args := append([]string{"-b", "base/frameworks/broker", "exit_only_after_terminate=T", "-e", script}, options...)
	cmd := exec.Command(zeek, args...)
	cmd.Dir = t.TempDir()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	return stdout
}
