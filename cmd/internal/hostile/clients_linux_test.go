package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// clientLimit is the longest time until a command ends. A request has 20 seconds,
// and a command may make several attempts to connect.
const clientLimit = 90 * time.Second

// outputLimit is the largest size of what a command prints, in bytes, except for
// commands that print a large response.
const outputLimit = 64 << 20

// clientRow is an attack on client commands.
type clientRow struct {
	attack   string
	small    bool
	commands []string
}

var (
	anyCommand = []string{"get-nodes"}
	allCommand = []string{
		"status", "get-nodes", "get-instances", "get-config", "get-id-value x", "history", "events", "restart", "deploy", "deploy-config @", "diff @", "check-config @",
		"rolling-restart", "drain instance-1", "rollback", "logs worker-1", "stage-config @",
		"top --once", "netstats", "peers", "df", "scripts",
	}
	endless = []string{"watch", "monitor", "subscribe"}
)

var clientRows = []clientRow{
	{"silent server", false, anyCommand},
	{"endless response headers", true, anyCommand},
	{"endless header", false, anyCommand},
	{"endless response body", false, anyCommand},
	{"control characters in an HTTP response", true, anyCommand},
	{"redirection", false, anyCommand},
	{"random response", false, anyCommand},
	{"no acknowledgement", false, anyCommand},
	{"messages before the acknowledgement", false, anyCommand},
	{"responses to others", false, slices.Concat(anyCommand, endless)},
	{"errors without end", false, slices.Concat(anyCommand, endless)},
	{"pings of a server", false, anyCommand},
	{"fragments of a server", false, anyCommand},
	{"events without end", false, slices.Concat(anyCommand, endless)},
	{"control characters in responses", true, allCommand},
	{"giant responses", false, allCommand},
	{"too large responses", false, allCommand},
	{"many results", false, allCommand},
	{"large clusters", false, allCommand},
	{"deep results", false, allCommand},
	{"dribbled responses", false, anyCommand},
}

// TestHostileServers runs client commands in a terminal against a hostile server in
// place of a controller. A command must end by itself or when it is interrupted,
// within its memory, and must not let the server control the terminal.
func TestHostileServers(t *testing.T) {
	binary := testbinary.Path(t)
	config := filepath.Join(t.TempDir(), "cluster")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(configuration, "@", "a")), 0o600); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, r := range clientRows {
		if !*full && !r.small || !pattern().MatchString("server/"+r.attack) {
			continue
		}
		t.Run(r.attack, func(t *testing.T) {
			commands := r.commands
			if !*full {
				commands = commands[:1]
			}
			for _, text := range commands {
				rows = append(rows, r.run(t, binary, strings.ReplaceAll(text, "@", config)))
			}
		})
	}
	t.Logf("%d commands\n%s", len(rows), table(append([]string{"ATTACK\tCOMMAND\tPEAK MEMORY\tTIME\tPRINTED\tOUTCOME"}, rows...)))
}

// run runs a command against the server of a row, and returns a line of the table.
func (r clientRow) run(t *testing.T, binary, text string) string {
	t.Helper()
	target := attack.Target{Address: peertest.FreeAddress(t), Listen: true}
	a, err := startAttacker(assault{Attack: r.attack, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(text)
	if args[0] == "subscribe" {
		args = append(args, "--transport", "websocket", "--connect", target.Address, "/")
	} else {
		args = append(args, "--controller", target.Address)
	}
	c, err := runClient(t, binary, slices.Contains(endless, text), args...)
	if stats, stopErr := a.stop(); stopErr != nil || stats.Actions == 0 && !offline[args[0]] {
		err = errors.Join(err, fmt.Errorf("the server did %d things: %w", stats.Actions, stopErr))
	}
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return fmt.Sprintf("%s\t%s\t%d MiB\t%v\t%d bytes\t%s", r.attack, args[0], c.peak>>20, c.took.Round(time.Millisecond), c.printed, result(err))
}

// offline are the commands that need no controller.
var offline = map[string]bool{"check-config": true}

// clientRun is a command that ran in a terminal.
type clientRun struct {
	printed int64
	took    time.Duration
	peak    int64 // bytes
}

// runClient runs a command in a terminal. It interrupts the command if that does not
// end by itself.
func runClient(t *testing.T, binary string, interrupt bool, args ...string) (r clientRun, err error) {
	t.Helper()
	cmd := newCage(t, fmt.Sprint("client-", clientCount.Add(1))).command(binary, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	began := time.Now()
	terminal, err := pty.Start(cmd)
	if err != nil {
		return r, err
	}
	defer terminal.Close()
	var kills []*time.Timer
	if interrupt {
		kills = append(kills, time.AfterFunc(3*time.Second, func() { cmd.Process.Signal(os.Interrupt) }))
	}
	late := false
	kills = append(kills, time.AfterFunc(clientLimit, func() {
		late = true
		cmd.Process.Kill()
	}))
	defer func() {
		for _, k := range kills {
			k.Stop()
		}
	}()
	var controlled error
	r.printed, controlled = readTerminal(terminal)
	cmd.Wait()
	r.took = time.Since(began)
	r.peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	switch signaled := cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case late:
		err = fmt.Errorf("did not end within %v", clientLimit)
	case signaled.Signaled():
		err = fmt.Errorf("ended by signal %v", signaled.Signal())
	case r.peak > memoryLimit:
		err = fmt.Errorf("used %d MiB", r.peak>>20)
	case r.printed > outputLimit:
		err = fmt.Errorf("printed %d bytes", r.printed)
	}
	return r, errors.Join(err, controlled)
}

var clientCount atomic.Int32

// readTerminal reads the output of a command until it ends, and returns its size. The
// error says that a sequence of the server would have controlled the terminal.
func readTerminal(terminal io.Reader) (size int64, err error) {
	buf := make([]byte, 64<<10)
	var rest []byte // the end of what was read before
	for {
		n, readErr := terminal.Read(buf)
		size += int64(n)
		text := append(rest, buf[:n]...)
		for _, sequence := range []string{"\x1b[2J", "\x1b]0;", "\x07", "\u202e", "\nforged"} {
			if err == nil && bytes.Contains(text, []byte(sequence)) {
				err = fmt.Errorf("prints %q of the server", sequence)
			}
		}
		rest = slices.Clone(text[max(0, len(text)-8):])
		if readErr != nil {
			return size, err
		}
	}
}
