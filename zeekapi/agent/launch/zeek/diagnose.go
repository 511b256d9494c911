package zeek

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/loaded"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/tailfile"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/shlex"
)

// maxScripts limits the loaded scripts in a diagnosis. A Zeek loads about 400 of its own.
const maxScripts = 5000

// reportFiles are files of a node that help to find the reason of a problem.
var reportFiles = []string{layoutFile, "reporter.log", "capture_loss.log", "stats.log"}

// Diagnose returns information about a node, which may have ended.
func (l *Launcher) Diagnose(name string, limit int) zeekapi.Diagnosis {
	dir := l.nodeDir(name)
	l.mu.Lock()
	pid := 0
	if n := l.nodes[name]; n != nil {
		pid = n.pid
	}
	l.mu.Unlock()
	d := zeekapi.Diagnosis{Limits: limits(pid), Facts: append(l.machineFacts(), l.processFacts(dir, pid)...)}
	if args := l.common.all(); len(args) > 0 {
		d.Facts = append(d.Facts, zeekapi.Fact{Name: zeekapi.FactNodeArgs, Value: shlex.Join(args)})
	}
	d.Scripts, _ = loaded.ReadList(filepath.Join(dir, nodescript.LoadedList), dir) // a node that has not started has none
	d.Scripts = d.Scripts[:min(len(d.Scripts), maxScripts)]
	for _, file := range reportFiles {
		if f, ok := fileEnd(dir, file, limit); ok {
			d.Files = append(d.Files, f)
		}
	}
	return d
}

// fileEnd returns the end of a file in a node's directory. It returns false if there is no
// such regular file.
func fileEnd(dir, name string, limit int) (zeekapi.NodeFile, bool) {
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return zeekapi.NodeFile{}, false
	}
	end, err := tailfile.Read(path, limit)
	return zeekapi.NodeFile{Name: name, Size: uint64(info.Size()), Data: string(end)}, err == nil
}

// limits returns the resource limits of a process, or if it is 0 those of the agent, which
// nodes inherit. It returns "" if they are unknown.
func limits(pid int) string {
	process := "self"
	if pid != 0 {
		process = strconv.Itoa(pid)
	}
	b, _ := os.ReadFile(filepath.Join("/proc", process, "limits")) // there is no /proc on other systems
	return string(b)
}

// machineFacts returns facts about the machine and the installed Zeek.
func (l *Launcher) machineFacts() []zeekapi.Fact {
	z := l.zeek()
	facts := []zeekapi.Fact{
		{Name: "system", Value: systemName()},
		{Name: "cpus", Value: strconv.Itoa(runtime.NumCPU())},
		{Name: "zeek program", Value: z.binary},
		{Name: "zeek scripts", Value: z.path},
		{Name: "user", Value: strconv.Itoa(os.Geteuid())},
	}
	if memory, known := l.resources.memory(); known {
		facts = append(facts, zeekapi.Fact{Name: "memory available", Value: fmt.Sprintf("%d MiB", memory>>20)})
	}
	if free, known := l.resources.disk(l.config.StateDir); known {
		facts = append(facts, zeekapi.Fact{Name: "disk free", Value: fmt.Sprintf("%d MiB, %d files, in %s", free.bytes>>20, free.files, l.config.StateDir)})
	}
	if err := currentPrivileges().forbid(z.binary); err != nil {
		facts = append(facts, zeekapi.Fact{Name: "capture", Value: err.Error()})
	}
	return facts
}

func systemName() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOOS + " " + runtime.GOARCH
	}
	text := func(b []byte) string { return string(bytes.TrimRight(b, "\x00")) }
	return strings.Join([]string{text(u.Sysname[:]), text(u.Release[:]), text(u.Machine[:])}, " ")
}

// processFacts returns facts about the process of a node, from its note.
func (l *Launcher) processFacts(dir string, pid int) []zeekapi.Fact {
	facts := []zeekapi.Fact{{Name: "directory", Value: dir}}
	if pid == 0 {
		return append(facts, zeekapi.Fact{Name: "process", Value: "none"})
	}
	facts = append(facts, zeekapi.Fact{Name: "process", Value: strconv.Itoa(pid)})
	n, err := readNote(dir)
	if err != nil {
		return facts
	}
	if !n.Began.IsZero() {
		facts = append(facts, zeekapi.Fact{Name: "started", Value: n.Began.UTC().Format(time.RFC3339)})
	}
	return append(facts,
		zeekapi.Fact{Name: "zeek of the process", Value: n.Zeek},
		zeekapi.Fact{Name: "cpus of the process", Value: cpusOf(pid)},
		zeekapi.Fact{Name: "arguments", Value: strings.Join(n.Args, " ")})
}

// cpusOf returns the list of CPUs that a process may use, "" if it is unknown.
func cpusOf(pid int) string {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status")) // there is no /proc on other systems
	for line := range strings.Lines(string(b)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			return strings.TrimSpace(list)
		}
	}
	return ""
}
