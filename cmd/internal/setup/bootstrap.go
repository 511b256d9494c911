package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/authority"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Names of files in the directory of settings.
const (
	ControllerFile = "controller.conf"
	AgentFile      = "agent.conf"
	ClientsFile    = "clients"
	ClientFile     = "client.cfg"
)

// ControllerName is the name of the controller in its certificate, and of its file.
const ControllerName = "controller"

// purposeOfPair describes the controller's file.
const purposeOfPair = "certificate and key of the controller"

// agentCertificate and clientCertificate are the names of the files of a machine's
// agent and a person's client.
const (
	agentCertificate  = "agent"
	clientCertificate = "client"
)

// Ports are the ports of a controller.
type Ports struct{ Agents, Clients, Join uint16 }

// Bootstrap describes the first steps of a secure cluster, on the machine of the
// controller.
type Bootstrap struct {
	Place
	Hosts    []string // names and addresses of the controller; others reach it by the first
	Client   string   // name of the first client
	Agents   []authority.Subject
	Lifetime time.Duration // of certificates
	Ports    Ports
	Local    string // address of the controller for clients on its machine
	Output   string // directory for join files
	Extra    []settings.Assignment
}

// Run makes the authority, the certificates of the controller and the first client, the
// settings, and a join file for each agent. It returns what it has written.
func (b Bootstrap) Run(now time.Time) ([]Written, error) {
	conf, client, err := b.check()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ownedfile.MakeDir(b.StateDir, 0o750, b.Owner), ownedfile.MakeDir(b.Certificates(), 0o750, b.Owner),
		ownedfile.MakeDir(b.ConfigDir, 0o750, b.Owner.Reader()), writable(b.ConfigDir), writable(b.Output)); err != nil {
		return nil, err
	}
	a, err := authority.Create(b.AuthorityDir(), b.Hosts[0], b.Lifetime, b.Owner, now)
	if err != nil {
		return nil, err
	}
	written := []Written{{b.AuthorityDir(), "the authority of the cluster, with its key"}}
	for _, step := range b.steps(a, conf, client, now) {
		if err := step.write(); err != nil {
			return nil, errors.Join(err, remove(written))
		}
		written = append(written, step.Written)
	}
	return written, nil
}

// step writes a file.
type step struct {
	Written
	write func() error
}

// remove removes what an attempt has written, so that the next one can succeed.
func remove(written []Written) error {
	var errs []error
	for _, w := range written {
		errs = append(errs, os.RemoveAll(w.Name))
	}
	return errors.Join(errs...)
}

// steps returns the files to write, with the settings of the client. The settings of the
// controller, which may exist already, come last.
func (b Bootstrap) steps(a *authority.Authority, conf amendment, client []byte, now time.Time) []step {
	create := func(name, purpose string, text []byte, perm fs.FileMode, owner ownedfile.Owner) step {
		return step{Written{name, purpose}, func() error { return ownedfile.Create(name, text, perm, owner) }}
	}
	issue := func(file, purpose string, s authority.Subject) step {
		return step{Written{file, purpose}, func() error { return b.issue(a, now, file, s) }}
	}
	reader := b.Owner.Reader()
	steps := []step{
		issue(b.PairFile(ControllerName), purposeOfPair, controller(b.Hosts)),
		issue(b.PairFile(clientCertificate), "certificate and key of the client "+b.Client, authority.Subject{Kind: authority.Client, Name: b.Client}),
		create(b.AuthorityFile(), "certificate of the authority", a.PEM(), 0o644, b.Owner),
		create(b.config(ClientsFile), "clients of the controller", []byte("# name role proof\n"+b.Client+" full certificate\n"), 0o640, reader),
		create(b.config(ClientFile), "settings of the client "+b.Client, client, 0o640, reader),
	}
	for _, s := range b.Agents {
		steps = append(steps, step{Written{joinName(b.Output, s.Name), invited(s, now)}, func() error {
			_, err := Invite(a, now, s, b.Ports, b.Output)
			return err
		}})
	}
	return append(steps, step{Written{conf.file, "settings of the controller"}, conf.write})
}

// controller returns the subject of the controller's certificate.
func controller(hosts []string) authority.Subject {
	return authority.Subject{Kind: authority.Controller, Name: ControllerName, Hosts: hosts}
}

// check returns the new settings of the controller and those of the client, or why nothing
// can be written.
func (b Bootstrap) check() (conf amendment, client []byte, err error) {
	if len(b.Hosts) == 0 {
		return amendment{}, nil, errors.New("the controller needs a name or an address")
	}
	subjects := append([]authority.Subject{controller(b.Hosts), {Kind: authority.Client, Name: b.Client}}, b.Agents...)
	names := make(map[string]bool)
	for _, s := range subjects {
		if err := s.Check(); err != nil {
			return amendment{}, nil, err
		}
		if names[s.Name] {
			return amendment{}, nil, fmt.Errorf("two certificates for the name %q", s.Name)
		}
		names[s.Name] = true
	}
	files := []string{b.PairFile(ControllerName), b.PairFile(clientCertificate), b.AuthorityFile(), b.config(ClientsFile), b.config(ClientFile)}
	for _, s := range b.Agents {
		files = append(files, joinName(b.Output, s.Name))
	}
	conf, confErr := b.amend(b.config(ControllerFile), "Written by zeekwire bootstrap", b.settings())
	client, clientErr := clientSettings(b.Local, b.Ports.Clients, b.PairFile(clientCertificate), b.AuthorityFile(), "")
	if err := errors.Join(authority.Missing(b.AuthorityDir()), absent(files...), confErr, clientErr); err != nil {
		return amendment{}, nil, err
	}
	return conf, client, nil
}

func (b Bootstrap) settings() []settings.Assignment {
	pair, revoked := b.PairFile(ControllerName), authority.RevokedFile(b.AuthorityDir())
	return append(b.Extra, []settings.Assignment{
		{Name: "tls", Text: "mutual"},
		{Name: "tls-cert", Text: pair}, {Name: "tls-key", Text: pair}, {Name: "tls-ca", Text: b.AuthorityFile()},
		{Name: "tls-crl", Text: revoked},
		{Name: "websocket-tls-cert", Text: pair}, {Name: "websocket-tls-key", Text: pair}, {Name: "websocket-tls-ca", Text: b.AuthorityFile()},
		{Name: "websocket-tls-crl", Text: revoked},
		{Name: "clients", Text: b.config(ClientsFile)},
		{Name: "authority", Text: b.AuthorityDir()},
	}...)
}

func (p Place) config(name string) string { return filepath.Join(p.ConfigDir, name) }

// issue makes a key and a certificate for it, in one file.
func (p Place) issue(a *authority.Authority, now time.Time, file string, s authority.Subject) error {
	text, err := newPair(a, now, s)
	if err != nil {
		return err
	}
	return ownedfile.Create(file, text, 0o600, p.Owner)
}

// newPair returns a new key and a certificate for it, as PEM.
func newPair(a *authority.Authority, now time.Time, s authority.Subject) ([]byte, error) {
	p, err := enrol.Issue(a, now, s)
	if err != nil {
		return nil, err
	}
	return p.PEM()
}

// clientSettings returns the settings file of a client. RenewFrom is where it renews its
// certificate; "" means that the controller does that, on its own machine.
func clientSettings(host string, port uint16, pair, authorityFile, renewFrom string) ([]byte, error) {
	var w configparser.Writer
	w.Section("controller")
	w.KeyValue("host", configparser.Escape(host))
	w.KeyValue("port", strconv.Itoa(int(port)))
	w.Section("ssl")
	w.KeyValue("enable", "yes")
	w.KeyValue("certificate", configparser.Escape(pair))
	w.KeyValue("keyfile", configparser.Escape(pair))
	w.KeyValue("cafile", configparser.Escape(authorityFile))
	if renewFrom != "" {
		w.KeyValue("renew_from", configparser.Escape(renewFrom))
	}
	text, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("the settings of the client: %w", err)
	}
	file, err := configparser.Read(ClientFile, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	noKey := func(string, string) bool { return false } // each value has one line
	if errs := file.Misread(noKey); len(errs) > 0 {
		return nil, fmt.Errorf("the settings of the client cannot name this path: %w", errs)
	}
	return append(bytes.TrimSpace(text), '\n'), nil
}

// Reissue replaces the certificate of the controller with one for other names and
// addresses. Later join files have the first one. The earlier certificate stays valid.
func (p Place) Reissue(a *authority.Authority, now time.Time, hosts []string) (Written, error) {
	file := p.PairFile(ControllerName)
	text, err := newPair(a, now, controller(hosts))
	if err != nil {
		return Written{}, err
	}
	return Written{file, purposeOfPair},
		errors.Join(ownedfile.Write(file, text, 0o600, p.Owner), a.SetHost(now, hosts[0]))
}

// joinSuffix is the end of the names of join files.
const joinSuffix = ".join"

func joinName(dir, name string) string { return filepath.Join(dir, name+joinSuffix) }

// Invite makes a join file in a directory.
func Invite(a *authority.Authority, now time.Time, s authority.Subject, ports Ports, dir string) (Written, error) {
	name := joinName(dir, s.Name)
	if err := absent(name); err != nil {
		return Written{}, err
	}
	host, err := a.Host()
	if err != nil {
		return Written{}, err
	}
	secret, expires, err := a.Invite(now, s)
	if err != nil {
		return Written{}, err
	}
	text, err := enrol.JoinFile{
		Kind: s.Kind, Name: s.Name, Host: host, AgentPort: ports.Agents, ClientPort: ports.Clients, JoinPort: ports.Join,
		Expires: expires, Secret: secret, Authority: string(a.PEM()),
	}.Encode()
	if err != nil {
		return Written{}, err
	}
	return Written{name, invited(s, now)}, ownedfile.Create(name, text, 0o600, ownedfile.Own())
}

// invited describes the join file of a subject.
func invited(s authority.Subject, now time.Time) string {
	return fmt.Sprintf("join file of the %s %s: secret, valid once, until %s", s.Kind, s.Name, now.Add(authority.InvitationLifetime).Format("15:04"))
}
