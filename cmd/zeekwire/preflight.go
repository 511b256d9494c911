package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/cmd/internal/listening"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// preflight collects what keeps a service from starting, so that a new user learns all
// of it at the first start. What it misses, the start reports.
type preflight struct {
	found settings.Errors

	// denied returns the reason why this process cannot create files in a directory.
	// If nil, the system is asked.
	denied func(dir string) error
}

// err returns all problems, or nil.
func (p *preflight) err() error {
	if len(p.found) == 0 {
		return nil
	}
	return p.found
}

func (p *preflight) add(err error) {
	if err != nil {
		p.found = append(p.found, err)
	}
}

// common looks for problems of all services.
func (p *preflight) common(ctx context.Context, s *serviceSettings) {
	p.directory("state directory", s.stateDir, "--state-dir DIR")
	p.port(ctx, listening.Purpose{For: "metrics", Flag: "--metrics-listen"}, s.metrics.at(s.defaultAddress))
}

// port checks that a listener can be opened. The address is "" if there is none.
func (p *preflight) port(ctx context.Context, purpose listening.Purpose, address string) {
	if address == "" {
		return
	}
	if _, number, err := net.SplitHostPort(address); err == nil && number == "0" {
		return
	}
	l, err := purpose.Listen(ctx, address)
	if err == nil {
		err = l.Close()
	}
	p.add(err)
}

// directory checks that a directory is or can be created by this user. It ignores file
// systems that are full or read-only, on which services start as well.
func (p *preflight) directory(what, dir, flag string) {
	existing, err := dir, error(nil)
	for {
		var info fs.FileInfo
		if info, err = os.Stat(existing); err == nil && !info.IsDir() {
			p.add(fmt.Errorf("%s %s: %s is not a directory; choose another one with %s", what, dir, existing, flag))
			return
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	denied := p.denied
	if denied == nil {
		denied = func(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
	}
	if err == nil {
		err = denied(existing)
	}
	if errors.Is(err, fs.ErrPermission) {
		p.add(fmt.Errorf("%s %s: permission denied; choose another one with %s, or run \"install -d -o %s %[2]s\" as root", what, dir, flag, userName()))
	}
}

// userName returns the name of the user of this process, or the number.
func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Geteuid())
}

// zeek checks that there is a zeek program. The text without tells how to proceed
// without Zeek.
func (p *preflight) zeek(program, without string) {
	_, err := exec.LookPath(program)
	if err == nil {
		return
	}
	reason := errors.Unwrap(err) // without the name
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		reason = path.Err
	}
	p.add(fmt.Errorf("zeek program %q: %w; install Zeek, or name its program with --zeek PATH; %s", program, reason, without))
}

// preflight returns what keeps the controller from starting.
func (s *controllerSettings) preflight(ctx context.Context) error {
	var p preflight
	p.common(ctx, &s.serviceSettings)
	p.port(ctx, listeningForAgents, s.native.at(s.defaultAddress))
	p.port(ctx, listeningForClients, s.websocket.at(s.defaultAddress))
	p.port(ctx, listeningForJoins, s.joinAddress())
	p.port(ctx, listeningForHTTP, s.http.at(s.defaultAddress))
	return p.err()
}

// preflight returns what keeps the agent from starting.
func (s *agentSettings) preflight(ctx context.Context) error {
	var p preflight
	p.common(ctx, &s.serviceSettings)
	if s.archive.dir != "" {
		p.directory("archive", s.archive.dir, "--archive-dir DIR")
	}
	if s.nodes.spoolDir != "" {
		p.directory("spool directory", s.nodes.spoolDir, "--spool-dir DIR")
	}
	p.port(ctx, listeningForNodes, s.native.at(s.defaultAddress))
	if s.launcher == launcherZeek {
		p.zeek(s.zeek, "--launcher simulated works without Zeek")
	}
	return p.err()
}

// The listeners of the services.
var (
	listeningForAgents  = listening.Purpose{For: "agents", Flag: "--listen"}
	listeningForClients = listening.Purpose{For: "clients", Flag: "--websocket-listen"}
	listeningForJoins   = listening.Purpose{For: "machines that join", Flag: "--join-listen"}
	listeningForNodes   = listening.Purpose{For: "nodes and controllers", Flag: "--listen"}
)

// fewFiles is a limit of open files with which a service soon has too few: each peer
// takes one.
const fewFiles = 1024

// shortcomings returns what does not keep a service from starting, but limits it.
func shortcomings() []string {
	var found []string
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil && files.Cur < fewFiles {
		found = append(found, fmt.Sprintf("only %d files may be open, and each connection takes one; raise the limit with \"ulimit -n\", or LimitNOFILE= of the service", files.Cur))
	}
	if _, err := os.Stat("/proc/self"); err != nil && runtime.GOOS == "linux" {
		found = append(found, "/proc is not mounted; without it, an agent cannot find running nodes again, measure them, or see which ports are in use")
	}
	return found
}
