package enrol

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
)

// joinFormat is JoinFile.Format.
const joinFormat = "zeekwire join file 1"

// maxJoinFile limits the size of a join file in bytes.
const maxJoinFile = 64 << 10

// JoinFile permits a machine, or a person, to have one certificate. It is secret until it
// has been used or has expired.
type JoinFile struct {
	Format string         `json:"format"`
	Kind   authority.Kind `json:"kind"` // authority.Agent or authority.Client
	Name   string         `json:"name"`

	// Host is the name or address of the controller. The ports are those for
	// agents, for clients and for join files.
	Host       string `json:"controller"`
	AgentPort  uint16 `json:"agent_port"`
	ClientPort uint16 `json:"client_port"`
	JoinPort   uint16 `json:"join_port"`

	Expires   time.Time `json:"expires"` // by the clock of the controller
	Secret    string    `json:"secret"`
	Authority string    `json:"authority"` // PEM
}

// Encode returns the content of the file.
func (j JoinFile) Encode() ([]byte, error) {
	j.Format = joinFormat
	text, err := json.MarshalIndent(j, "", "  ")
	return append(text, '\n'), err
}

// ReadJoinFile reads and checks a join file.
func ReadJoinFile(r io.Reader) (JoinFile, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxJoinFile+1))
	if err != nil {
		return JoinFile{}, err
	}
	if len(text) > maxJoinFile {
		return JoinFile{}, fmt.Errorf("larger than %d bytes, not a join file", maxJoinFile)
	}
	var j JoinFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return JoinFile{}, fmt.Errorf("not a join file: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return JoinFile{}, errors.New("not a join file: text follows its end")
	}
	return j, j.check()
}

func (j JoinFile) check() error {
	if j.Format != joinFormat {
		return fmt.Errorf("the format is %.80q, this version reads %q", j.Format, joinFormat)
	}
	if err := (authority.Subject{Kind: j.Kind, Name: j.Name}).Check(); err != nil {
		return err
	}
	if j.Kind == authority.Controller {
		return errors.New("a join file for a controller")
	}
	if err := authority.CheckHost(j.Host); err != nil {
		return fmt.Errorf("controller: %w", err)
	}
	if j.AgentPort == 0 || j.ClientPort == 0 || j.JoinPort == 0 {
		return errors.New("a port of the controller is missing")
	}
	if len(j.Secret) < 32 || len(j.Secret) > maxSecret || strings.ContainsFunc(j.Secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the secret is missing or damaged")
	}
	_, err := j.certificate()
	return err
}

// certificate returns the certificate of the authority.
func (j JoinFile) certificate() (*x509.Certificate, error) {
	return parseAuthority([]byte(j.Authority))
}

// parseAuthority returns the only certificate in a PEM text, which must be that of an
// authority.
func parseAuthority(text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the authority is not one certificate in PEM format")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority: %w", err)
	}
	if !c.IsCA {
		return nil, errors.New("the certificate of the authority is not that of an authority")
	}
	return c, nil
}

// address returns the address of a port of the controller.
func (j JoinFile) address(port uint16) string {
	return net.JoinHostPort(j.Host, strconv.Itoa(int(port)))
}

// AgentAddress returns the address of the controller for agents.
func (j JoinFile) AgentAddress() string { return j.address(j.AgentPort) }

// JoinAddress returns the address of the controller for machines that join.
func (j JoinFile) JoinAddress() string { return j.address(j.JoinPort) }

// Fingerprint returns the SHA-256 of the authority's certificate in the usual form, for
// people to compare. It is "" if there is no valid certificate.
func (j JoinFile) Fingerprint() string {
	c, err := j.certificate()
	if err != nil {
		return ""
	}
	return Fingerprint(c)
}

// Fingerprint returns the SHA-256 of a certificate in the usual form.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = strings.ToUpper(hex.EncodeToString([]byte{b}))
	}
	return strings.Join(pairs, ":")
}
