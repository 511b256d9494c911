package zeek

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
)

// identify returns the identity of a process, or an error if the process has ended.
func identify(pid int) (identity, error) {
	stat, err := proc.Read(pid)
	if err != nil {
		return identity{}, err
	}
	return identityOf(pid, stat)
}

func identityOf(pid int, stat proc.Stat) (identity, error) {
	if stat.Ended {
		return identity{}, fmt.Errorf("process %d has ended", pid)
	}
	boot, err := bootID()
	if err != nil {
		return identity{}, err
	}
	return identity{PID: pid, StartTime: stat.StartTime, Boot: boot}, nil
}

// bootID returns the ID of the machine's current boot, which procfs does not provide.
var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(b)), err
})

// started returns the time at which the process started, or zero if it is unknown.
func (id identity) started() time.Time { return proc.Stat{StartTime: id.StartTime}.Started() }

// lives reports whether the process still runs. It returns false for another process with
// the same ID.
func (id identity) lives() bool {
	now, err := identify(id.PID)
	return err == nil && now == id
}

// mark is a process with the token and the directory of its node, from its environment.
type mark struct {
	id    identity
	group int
	token string
	dir   string // of the node
}

func (m mark) lives() bool { return m.id.lives() }

// marked returns the processes of nodes whose directories are in nodesDir, and all
// processes that these started. It omits processes with an unreadable environment.
func marked(nodesDir string) ([]mark, error) {
	var all []mark
	err := proc.Each(func(pid int, stat proc.Stat) {
		token, dir, err := readMark(pid)
		if err != nil || filepath.Dir(dir) != nodesDir {
			return
		}
		if id, err := identify(pid); err == nil && id.StartTime == stat.StartTime {
			all = append(all, mark{id, stat.Group, token, dir})
		}
	})
	return all, err
}

// readMark returns the token and the directory from the environment of a process, or "" if
// it contains none.
func readMark(pid int) (token, dir string, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return "", "", err
	}
	env, err := p.Environ()
	if err != nil {
		return "", "", err
	}
	// The last entry counts: a process of one node may start another node.
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, tokenVar+"="); ok {
			token, dir, _ = strings.Cut(value, ":")
		}
	}
	return token, dir, nil
}

// leader returns the main process of a node, and false if it has ended.
func (n note) leader(all []mark) (process, bool) {
	if n.Process != nil {
		p, err := open(n.Process.PID)
		if err != nil || *p.id != *n.Process {
			p.close()
			return process{}, false
		}
		p.token = n.Token
		return p, true
	}
	// The launcher ended before it could record the process.
	for _, m := range all {
		if m.token == n.Token && m.group == m.id.PID && n.isCommandOf(m.id.PID) {
			return n.claim(m.id.PID)
		}
	}
	// The environment of a program with file capabilities is not readable.
	hidden := 0
	err := proc.Each(func(pid int, stat proc.Stat) {
		if _, _, err := readMark(pid); errors.Is(err, fs.ErrPermission) && stat.Group == pid && n.isCommandOf(pid) {
			hidden = pid
		}
	})
	if err != nil || hidden == 0 {
		return process{}, false
	}
	return n.claim(hidden)
}

// claim opens a process that has the arguments of the note, and returns false if it has not.
func (n note) claim(pid int) (process, bool) {
	p, err := open(pid)
	if err != nil || !n.isCommandOf(pid) {
		p.close()
		return process{}, false
	}
	p.token = n.Token
	return p, true
}

// isCommandOf reports whether a process has the arguments of the note. It does not compare
// the program: if that is a script, the kernel puts the interpreter before it.
func (n note) isCommandOf(pid int) bool {
	if len(n.Args) == 0 {
		return false
	}
	p, err := procfs.NewProc(pid)
	if err != nil {
		return false
	}
	args, err := p.CmdLine()
	want := n.Args[1:]
	return err == nil && len(args) > len(want) && slices.Equal(args[len(args)-len(want):], want)
}
