package alerts

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wneessen/go-mail"
)

// Channel sends messages to operators. Send may be called concurrently. After an
// error that wraps ErrFinal, another attempt would fail, too. Errors contain no secrets.
type Channel interface {
	Name() string // "command", "webhook" or "mail"
	To() string   // the program, the host, or the recipients; without secrets
	Send(ctx context.Context, m Message) error
}

// ErrFinal is wrapped by errors of messages that the recipient refuses for good.
var ErrFinal = errors.New("refused")

// Secret is a password or key in a file. It is read whenever it is needed, so that the file
// can be replaced. The zero Secret is empty.
type Secret struct{ File string }

// Read returns the first line of the file.
func (s Secret) Read() (string, error) {
	if s.File == "" {
		return "", nil
	}
	f, err := os.Open(s.File)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line is empty", s.File)
	}
	return line, nil
}

// Command runs a command of the shell. It receives the JSON of a message on its standard
// input, and the subject in the environment variable ZEEKWIRE_ALERT.
type Command struct{ Command string }

// Name returns "command".
func (c Command) Name() string { return "command" }

// To returns the program. Its arguments may be secret.
func (c Command) To() string {
	program, _, _ := strings.Cut(strings.TrimSpace(c.Command), " ")
	return program
}

// Send runs the command.
func (c Command) Send(ctx context.Context, m Message) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", c.Command)
	cmd.Stdin = bytes.NewReader(m.JSON())
	cmd.Env = append(os.Environ(), "ZEEKWIRE_ALERT="+m.Subject())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the command was ended: %w", context.Cause(ctx))
	}
	return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out[:min(len(out), 1000)]))
}

// Webhook posts the JSON of a message to a URL. With a key, the request is signed: the header
// X-Zeekwire-Signature is "sha256=" and the hexadecimal HMAC-SHA-256 of the header
// X-Zeekwire-Timestamp, a dot, and the body. Redirections are errors.
type Webhook struct {
	URL    *url.URL
	Key    Secret
	Client *http.Client // nil: one of its own
	Agent  string       // User-Agent
}

// Name returns "webhook".
func (w Webhook) Name() string { return "webhook" }

// To returns the host of the URL. Other parts may be secret.
func (w Webhook) To() string { return w.URL.Scheme + "://" + w.URL.Host }

// Sign returns the value of X-Zeekwire-Signature.
func Sign(key, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// Send posts the message.
func (w Webhook) Send(ctx context.Context, m Message) error {
	body := m.JSON()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL.String(), bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", w.Agent)
	req.Header.Set("X-Zeekwire-Delivery", m.ID)
	key, err := w.Key.Read()
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if key != "" {
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("X-Zeekwire-Timestamp", timestamp)
		req.Header.Set("X-Zeekwire-Signature", Sign(key, timestamp, body))
	}
	client := w.Client
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	resp, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests:
		return fmt.Errorf("%s: %w", resp.Status, ErrFinal)
	default:
		return errors.New(resp.Status)
	}
}

// withoutURL removes the URL from an error, which may contain a token.
func withoutURL(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return errors.New("invalid URL")
}

// Mail sends messages by SMTP.
type Mail struct {
	Server       string // HOST:PORT
	TLS          string // one of the constants below
	User         string // "" without authentication
	Password     Secret
	From         string
	Recipients   []string
	Certificates *x509.CertPool // authorities of the server's certificate; nil: those of the system
}

// Values of Mail.TLS.
const (
	StartTLS    = "starttls" // TLS after a greeting; required
	ImplicitTLS = "tls"      // TLS from the beginning
	NoTLS       = "off"
)

// Name returns "mail".
func (m Mail) Name() string { return "mail" }

// To returns the recipients.
func (m Mail) To() string { return strings.Join(m.Recipients, ", ") }

// Send sends a message.
func (m Mail) Send(ctx context.Context, msg Message) error {
	var dialed dialer
	defer dialed.close()
	client, err := m.client(ctx, &dialed)
	if err != nil {
		return err
	}
	letter := mail.NewMsg()
	if err := letter.From(m.From); err != nil {
		return err
	}
	if err := letter.To(m.Recipients...); err != nil {
		return err
	}
	letter.Subject(msg.Subject())
	letter.SetDateWithValue(msg.Time)
	letter.SetMessageIDWithValue(msg.ID + "@zeekwire")
	letter.SetGenHeader("Auto-Submitted", "auto-generated") // no replies of programs
	letter.SetBodyString(mail.TypeTextPlain, msg.Text())
	err = client.DialAndSendWithContext(ctx, letter)
	if e := (*mail.SendError)(nil); errors.As(err, &e) && !e.IsTemp() && e.ErrorCode() >= 500 {
		return fmt.Errorf("%w: %w", err, ErrFinal)
	}
	return err
}

// dialer dials one connection and closes it, which go-mail does not do after all errors.
type dialer struct{ conn net.Conn }

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		d.conn = conn
	}
	return conn, err
}

func (d *dialer) close() {
	if d.conn != nil {
		d.conn.Close()
	}
}

// client returns a client for one message.
func (m Mail) client(ctx context.Context, d *dialer) (*mail.Client, error) {
	host, port, err := net.SplitHostPort(m.Server)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	options := []mail.Option{
		mail.WithPort(number), mail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: m.Certificates, MinVersion: tls.VersionTLS12}),
	}
	if deadline, ok := ctx.Deadline(); ok {
		options = append(options, mail.WithTimeout(max(time.Second, time.Until(deadline))))
	}
	switch m.TLS {
	case ImplicitTLS:
		options = append(options, mail.WithSSL())
	case NoTLS:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS), mail.WithDialContextFunc(d.dial))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory), mail.WithDialContextFunc(d.dial))
	}
	if m.User != "" {
		password, err := m.Password.Read()
		if err != nil {
			return nil, fmt.Errorf("password: %w", err)
		}
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(m.User), mail.WithPassword(password))
	}
	return mail.NewClient(host, options...)
}
