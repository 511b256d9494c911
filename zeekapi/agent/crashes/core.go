package crashes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// coreDumps is the kernel's configuration of core files, see core(5).
type coreDumps struct {
	pattern string // of names; begins with | if a program receives them
	usesPID bool   // the process ID is appended to a pattern without %p
}

// systemCoreDumps returns the configuration of the machine.
func systemCoreDumps() coreDumps {
	read := func(name string) string {
		b, err := os.ReadFile("/proc/sys/kernel/" + name)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	return coreDumps{read("core_pattern"), read("core_uses_pid") == "1"}
}

// dump is the core dump of a process.
type dump struct {
	file    string // "" if there is none
	inNode  bool   // it is in the directory of the node
	systemd bool   // systemd-coredump keeps it
}

// find returns the core dump of a crash. Only a process that a signal ended has one.
func (d coreDumps) find(c Crash) dump {
	if c.Signal == 0 || d.pattern == "" {
		return dump{}
	}
	if program, piped := strings.CutPrefix(d.pattern, "|"); piped {
		return dump{systemd: strings.Contains(program, "systemd-coredump")}
	}
	glob, exact := d.glob(c.PID)
	inNode := !filepath.IsAbs(glob)
	if inNode {
		glob = filepath.Join(quoteGlob(c.Dir), glob)
	}
	names, err := filepath.Glob(glob)
	if err != nil {
		return dump{}
	}
	var newest os.FileInfo
	found := dump{inNode: inNode && filepath.Dir(glob) == filepath.Clean(quoteGlob(c.Dir))}
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || info.Mode().Type() != 0 || !exact && info.ModTime().Before(c.Started) {
			continue
		}
		if newest == nil || info.ModTime().After(newest.ModTime()) {
			newest, found.file = info, name
		}
	}
	return found
}

// glob returns the names that the core file of a process can have, and whether they contain
// its ID.
func (d coreDumps) glob(pid int64) (glob string, exact bool) {
	var b strings.Builder
	for i := 0; i < len(d.pattern); i++ {
		c := d.pattern[i]
		if c != '%' || i+1 == len(d.pattern) {
			b.WriteString(quoteGlob(string(c)))
			continue
		}
		i++
		switch d.pattern[i] {
		case '%':
			b.WriteByte('%')
		case 'p', 'P': // P differs in containers only
			b.WriteString(pidText(pid))
			exact = true
		default:
			b.WriteByte('*')
		}
	}
	if d.usesPID && !exact {
		b.WriteString("." + pidText(pid))
		exact = true
	}
	return b.String(), exact
}

// quoteGlob returns a pattern that matches only s.
func quoteGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

func pidText(pid int64) string { return strconv.FormatInt(pid, 10) }

// backtraceTimeout limits the time for a backtrace. A core file may be large.
const backtraceTimeout = 2 * time.Minute

// fromCore returns the backtrace of a core file by gdb, or why there is none. It executes no
// commands from gdb's init files or from the program.
func fromCore(ctx context.Context, program, core string) string {
	ctx, cancel := context.WithTimeout(ctx, backtraceTimeout)
	defer cancel()
	return output(ctx, "gdb", "-nx", "-batch", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off",
		"-ex", "set pagination off", "-ex", "thread apply all bt", program, core)
}

// fromSystemd returns the information of systemd-coredump about a process, or why there is
// none. It waits, because systemd-coredump takes some time to store a core file.
func fromSystemd(ctx context.Context, pid int64) string {
	ctx, cancel := context.WithTimeout(ctx, backtraceTimeout)
	defer cancel()
	for {
		text := output(ctx, "coredumpctl", "info", "--no-pager", pidText(pid))
		if !strings.Contains(text, "No coredumps found") && !strings.Contains(text, "No match found") {
			return text
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return text
		}
	}
}

// output returns the end of the output of a program, or why there is none.
func output(ctx context.Context, program string, args ...string) string {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	text := strings.ToValidUTF8(strings.TrimSpace(string(out[max(0, len(out)-maxBacktrace):])), "?")
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("no backtrace: %s is not installed", program)
	case ctx.Err() != nil:
		return fmt.Sprintf("no backtrace: %s took too long, or the agent ended", program)
	case err != nil && text == "":
		return fmt.Sprintf("no backtrace: %s: %v", program, err)
	}
	return text
}
