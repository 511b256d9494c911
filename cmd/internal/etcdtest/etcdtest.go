// Package etcdtest runs etcd for tests.
package etcdtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/testprocess"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// Cluster is an etcd of some members on loopback addresses.
type Cluster struct {
	// Members are the processes of the members. Tests may kill and suspend them, and start
	// them again.
	Members []*testprocess.Process

	// User, if not empty, is the NAME:PASSWORD with which Control runs etcdctl.
	User string

	t         testing.TB
	endpoints []string
	tls       *TLS
}

// TLS has the PEM files with which members accept clients. The certificate of a client must
// be of the same authority, and Control uses that of the members.
type TLS struct{ CA, Cert, Key string }

// Options describe a cluster that differs from the one of Start.
type Options struct {
	// Flags are further flags of each member.
	Flags []string

	// Peer, if non-nil, returns the address of a proxy that the other members use, for the
	// address at which a member listens.
	Peer func(member int, address string) string

	// TLS, if non-nil, returns the certificates for the connections of clients to members at
	// some IP addresses.
	TLS func(members []net.IP) TLS

	// Wrap, if non-nil, returns another command line for that of a member, and additional
	// environment variables.
	Wrap func(member int, argv []string) (wrapped, env []string)
}

// Start starts a cluster with the given number of members, and ends it with the test. It
// skips the test if there is no program etcd. Flags are further flags of each member.
func Start(t testing.TB, members int, flags ...string) *Cluster {
	t.Helper()
	return StartWith(t, members, Options{Flags: flags})
}

// StartWith is like Start, with options.
func StartWith(t testing.TB, members int, o Options) *Cluster {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Skip("there is no etcd; Debian has it in the package etcd-server")
	}
	c := &Cluster{t: t}
	for range members {
		c.endpoints = append(c.endpoints, peertest.FreeAddress(t))
	}
	scheme := "http://"
	if o.TLS != nil {
		scheme = "https://"
		c.tls = new(o.TLS(c.addresses()))
		o.Flags = append(slices.Clone(o.Flags), "--cert-file", c.tls.Cert, "--key-file", c.tls.Key, "--trusted-ca-file", c.tls.CA, "--client-cert-auth")
	}
	var listen, peers, all []string
	for i := range members {
		listen = append(listen, peertest.FreeAddress(t))
		peers = append(peers, listen[i])
		if o.Peer != nil {
			peers[i] = o.Peer(i, listen[i])
		}
		all = append(all, fmt.Sprintf("m%d=http://%s", i, peers[i]))
	}
	dir := t.TempDir()
	for i := range members {
		name, client := fmt.Sprint("m", i), scheme+c.endpoints[i]
		argv := append([]string{
			"etcd", "--name", name, "--data-dir", filepath.Join(dir, name),
			"--initial-cluster", strings.Join(all, ","), "--initial-cluster-token", peers[0],
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", "http://" + listen[i], "--initial-advertise-peer-urls", "http://" + peers[i],
		}, o.Flags...)
		env := []string{"ETCD_UNSUPPORTED_ARCH=" + runtime.GOARCH} // which Debian's package does not need on amd64
		if o.Wrap != nil {
			wrapped, more := o.Wrap(i, argv)
			argv, env = wrapped, append(env, more...)
		}
		c.Members = append(c.Members, testprocess.Start(t, dir, "etcd-"+name, env, argv...))
	}
	c.wait()
	return c
}

// Endpoints returns the addresses for clients.
func (c *Cluster) Endpoints() []string { return slices.Clone(c.endpoints) }

func (c *Cluster) addresses() (all []net.IP) {
	for _, e := range c.endpoints {
		host, _, _ := net.SplitHostPort(e)
		all = append(all, net.ParseIP(host))
	}
	return all
}

// SignalAll sends a signal to all members.
func (c *Cluster) SignalAll(s syscall.Signal) {
	c.t.Helper()
	for _, m := range c.Members {
		m.Signal(s)
	}
}

// Control runs etcdctl, and returns its output.
func (c *Cluster) Control(args ...string) string {
	c.t.Helper()
	out, err := c.control("", args...)
	if err != nil {
		c.t.Fatalf("etcdctl %q: %v\n%s", args, err, out)
	}
	return out
}

// Healthy reports whether all members answer.
func (c *Cluster) Healthy() bool {
	_, err := c.control("", "endpoint", "health")
	return err == nil
}

// PutLarge stores a value of n bytes, and returns the output of etcdctl.
func (c *Cluster) PutLarge(key string, n int) (string, error) {
	return c.control(strings.Repeat("x", n), "put", key)
}

// control runs etcdctl with an input.
func (c *Cluster) control(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	flags := []string{"--endpoints", strings.Join(c.endpoints, ",")}
	if c.tls != nil {
		flags = append(flags, "--cacert", c.tls.CA, "--cert", c.tls.Cert, "--key", c.tls.Key)
	}
	if c.User != "" {
		flags = append(flags, "--user", c.User)
	}
	cmd := exec.CommandContext(ctx, "etcdctl", append(flags, args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wait waits until the cluster answers.
func (c *Cluster) wait() {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := c.control("", "--dial-timeout", "2s", "--command-timeout", "5s", "get", "nothing")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("etcd does not start: %v\n%s", err, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
