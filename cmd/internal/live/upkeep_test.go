package live

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// diagJSON is the part of the output of diag that the tests of upkeep read.
type diagJSON struct {
	Crashes []struct {
		PID             int
		Reason, Stderr  string
		Signal          int
		ExitCode        *int `json:"exit_code"`
		Core, Backtrace string
		Zeek            string
	}
}

// TestCrashReports ends a node by signals. Each crash has a report, and the last ten are kept.
func TestCrashReports(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		native, websocket := ourController(t, "off")
		state := t.TempDir()
		// Core files are as large as the memory of nodes, so many systems have none by default.
		start(t, "our agent", nil, "sh", "-c", "ulimit -c unlimited && exec \"$@\"", "sh", zeekwire(t), "agent", "--name", "agent-one",
			"--controller", at(native), "--listen", at(freePort(t)), "--state-dir", state, "--zeek", z.zeek, "--tls", "off",
			"--node-args", "-b")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		c.deploy(t, "[instances]\nagent-one\n"+section(t, "manager", "manager"))

		const crashes, kept = 12, 10
		signals := []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT}
		var pids []int // the newest first
		for i := range crashes {
			pid := c.running(t, "agent-one", "manager")["manager"].PID
			signal := signals[i%len(signals)]
			if err := syscall.Kill(pid, signal); err != nil {
				t.Fatal(err)
			}
			pids = append([]int{pid}, pids...)
			eventually(t, "the report", func() error { return c.hasReport(t, pid, signal, z.version) })
			// A node that crashes often is started later each time, unless it is restarted.
			run(t, nil, append(c.argv, "restart", "manager")...)
		}
		var d diagJSON
		if err := c.call(t, &d, "diag", "manager"); err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, r := range d.Crashes {
			got = append(got, r.PID)
		}
		if !slices.Equal(got, pids[:kept]) {
			t.Errorf("reports about processes %d, want %d", got, pids[:kept])
		}
		stored, err := filepath.Glob(filepath.Join(state, "crashes", "manager", "*", "report.json"))
		if len(stored) != kept || err != nil {
			t.Errorf("%d reports are stored, want %d: %v", len(stored), kept, err)
		}
		cores, _ := filepath.Glob(filepath.Join(state, "crashes", "manager", "*", "core*"))
		if len(cores) > 1 {
			t.Errorf("core files %q, want one at most", cores)
		}
		table, _, _ := run(t, nil, append(c.argv, "diag", "manager", "--json=false")...)
		for _, want := range []string{"signal: aborted", "signal: segmentation fault"} {
			if !strings.Contains(table, want) {
				t.Errorf("diag has no %q:\n%s", want, table)
			}
		}
	})
}

// hasReport checks that the newest report about the manager is the one of a process that a
// signal has ended, with a backtrace if there can be one.
func (c client) hasReport(t *testing.T, pid int, signal syscall.Signal, version string) error {
	t.Helper()
	var d diagJSON
	if err := c.call(t, &d, "diag", "manager"); err != nil {
		return err
	}
	if len(d.Crashes) == 0 || d.Crashes[0].PID != pid {
		return fmt.Errorf("no report about %d: %+v", pid, d)
	}
	r := d.Crashes[0]
	if r.Signal != int(signal) || r.ExitCode != nil || !strings.Contains(r.Reason, signal.String()) || r.Zeek != version || r.Backtrace == "" {
		return fmt.Errorf("the report is %+v", r)
	}
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	_, noDebugger := exec.LookPath("gdb")
	switch {
	case err != nil || strings.HasPrefix(string(pattern), "|"):
		t.Logf("NOT TESTED: backtraces, because a program receives core files: %s", pattern)
	case noDebugger != nil:
		t.Log("NOT TESTED: backtraces, because gdb is not installed")
		if !strings.Contains(r.Backtrace, "gdb is not installed") {
			return fmt.Errorf("the backtrace is %s", r.Backtrace)
		}
	case !strings.Contains(r.Backtrace, "Thread 1") || !strings.Contains(r.Backtrace, "#1"):
		return fmt.Errorf("the backtrace is %s", r.Backtrace)
	default:
		if _, err := os.Stat(r.Core); err != nil {
			return err
		}
	}
	return nil
}

// hoardScript makes a node use more and more memory.
const hoardScript = `
global hoard: vector of string;
event grow() { hoard += string_fill(1000000, cat(|hoard|)); schedule 5msec { grow() }; }
event zeek_init() { schedule 1sec { grow() }; }
`

// TestMemoryLimit checks that a node that uses more memory than its limit is restarted with
// that reason, and that other nodes keep running.
func TestMemoryLimit(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		native, websocket := ourController(t, "off")
		startOurAgentIn(t, z, t.TempDir(), "agent-one", freePort(t), at(native), "--tls", "off")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		script := filepath.Join(t.TempDir(), "hoard.zeek")
		if err := os.WriteFile(script, []byte(hoardScript), 0o644); err != nil {
			t.Fatal(err)
		}
		config := func(limit string) string {
			return "[cluster]\nmemory_limit = 8G\n\n[instances]\nagent-one\n" + managerSection + loggerSection +
				workerSection + "scripts = " + script + "\nmemory_limit = " + limit + "\n"
		}
		c.deploy(t, config("700M"))
		before := c.running(t, "agent-one", nodes...)
		eventually(t, "a restart with the reason", func() error {
			var all struct {
				Instances map[string]struct {
					Nodes map[string]struct {
						PID, Restarts int
						LastError     string `json:"last_error"`
					}
				}
			}
			if err := c.call(t, &all, "status"); err != nil {
				return err
			}
			n := all.Instances["agent-one"].Nodes["worker"]
			if !strings.Contains(n.LastError, "of memory, its limit is 700.0 MiB") || n.Restarts == 0 || n.PID == before["worker"].PID {
				return fmt.Errorf("the worker is %+v", n)
			}
			return nil
		})
		events, _, _ := run(t, nil, append(c.argv, "events")...)
		if !strings.Contains(events, "its limit is 700.0 MiB") {
			t.Errorf("events %s", events)
		}
		if table, _, _ := run(t, nil, append(c.argv, "diag", "worker", "--json=false")...); !strings.Contains(table, "its limit is 700.0 MiB") {
			t.Errorf("diag shows\n%s", table)
		}

		// A higher limit applies to the running process.
		c.deploy(t, config("6G"))
		now := c.running(t, "agent-one", nodes...)
		eventually(t, "memory above the former limit", func() error {
			var top topJSON
			if err := c.call(t, &top, "top", "worker"); err != nil {
				return err
			}
			if n := top.Nodes["worker"]; n.Memory == nil || *n.Memory < 800<<20 {
				return fmt.Errorf("the worker is %+v", n)
			}
			return nil
		})
		after := c.running(t, "agent-one", nodes...)
		if after["worker"].PID != now["worker"].PID || after["manager"].PID != before["manager"].PID || after["logger"].PID != before["logger"].PID {
			t.Errorf("processes were %+v, then %+v, and are %+v", before, now, after)
		}
	})
}

// The parts of a cluster file that memory and expiry tests share. Ports and metrics ports are
// assigned by the controller.
const (
	managerSection = "\n[manager]\ninstance = agent-one\nrole = manager\n"
	loggerSection  = "\n[logger]\ninstance = agent-one\nrole = logger\n"
	workerSection  = "\n[worker]\ninstance = agent-one\nrole = worker\n"
)

// TestLogsExpire checks that logs leave the archive by age and by size, the oldest first, and
// that logs that are being written remain.
func TestLogsExpire(t *testing.T) {
	forEachZeek(t, func(t *testing.T, z *installation) {
		z.needsChildren(t)
		native, websocket := ourController(t, "off")
		state, port := t.TempDir(), freePort(t)
		agent := func(args ...string) *process {
			return startOurAgentIn(t, z, state, "agent-one", port, at(native), append([]string{"--tls", "off", "--archive-interval", "1s", "--on-exit", "leave"}, args...)...)
		}
		running := agent("--log-expiry", "1000d")
		c := ours(t, websocket)
		c.instances(t, "agent-one")
		script := filepath.Join(t.TempDir(), "write.zeek")
		if err := os.WriteFile(script, []byte(expiryScript), 0o644); err != nil {
			t.Fatal(err)
		}
		deploy := func(expiry string) {
			c.deploy(t, "[cluster]\nscripts = "+script+"\n"+expiry+"\n[instances]\nagent-one\n"+managerSection+loggerSection+workerSection)
			c.running(t, "agent-one", nodes...)
		}
		deploy("")
		archived := func() (logs []string) {
			logs, err := filepath.Glob(filepath.Join(state, "logs", "*", "live.*.log.gz"))
			if err != nil {
				t.Fatal(err)
			}
			return logs
		}
		eventually(t, "archived logs", func() error {
			waiting, _ := filepath.Glob(filepath.Join(state, "log-queue", "live*"))
			_, err := os.Stat(filepath.Join(state, "nodes", "logger", "live.log"))
			if logs, n := archived(), c.value(t, "worker", "Live::n"); len(logs) < 6 || n != "2000" || len(waiting) > 0 || err == nil {
				return fmt.Errorf("%s rows, %q, %q", n, logs, waiting)
			}
			return nil
		})
		logs := archived()[:6]
		days := func(log string, n float64) {
			at := time.Now().Add(-time.Duration(n * 24 * float64(time.Hour)))
			if err := os.Chtimes(log, at, at); err != nil {
				t.Fatal(err)
			}
		}
		// This one is being written by another program.
		beingWritten := filepath.Join(filepath.Dir(logs[0]), "other.log")
		write := func() {
			if err := os.WriteFile(beingWritten, randomText(t, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		days(logs[0], 40)
		days(logs[1], 5)
		days(logs[2], 3)
		for i, log := range logs[3:] {
			days(log, 1.5-float64(i)/10)
		}
		write()

		// By age: the configuration of the cluster has precedence.
		deploy("log_expiry = 2d")
		gone := func(what string, gone, kept []string) {
			t.Helper()
			eventually(t, what, func() error {
				write()
				for _, log := range gone {
					if _, err := os.Stat(log); !errors.Is(err, fs.ErrNotExist) {
						return fmt.Errorf("%s is there: %w", log, err)
					}
				}
				return nil
			})
			for _, log := range append(kept, beingWritten) {
				if _, err := os.Stat(log); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		gone("expiry by age", logs[:3], logs[3:])

		// By size: one of the three must go.
		running.stop()
		size := archiveSize(t, state)
		running = agent("--log-expiry-size", fmt.Sprint(size-fileSize(t, logs[3])/2))
		c.instances(t, "agent-one")
		gone("expiry by size", logs[3:4], logs[5:])
		running.stop()
		agent("--log-expiry-size", "1", "--on-exit", "stop")
		c.instances(t, "agent-one")
		gone("expiry of all that is old", logs, nil)
		c.running(t, "agent-one", nodes...)
	})
}

// expiryScript writes logs that are large also when they are compressed.
const expiryScript = `
redef Log::default_rotation_interval = 3 secs;

module Live;
export {
	redef enum Log::ID += { LOG };
	type Info: record { text: string &log; };
}
global n = 0;
event write()
	{
	local text = "";
	local i = 0;
	while ( ++i < 40 )
		text += sha256_hash(rand(1000000000), n, i);
	Log::write(Live::LOG, [$text=text]);
	if ( ++n < 2000 )
		schedule 10 msec { write() };
	}
event zeek_init()
	{
	Log::create_stream(Live::LOG, [$columns=Info, $path="live"]);
	if ( Cluster::node == "worker" )
		schedule 1 sec { write() };
	}
`

func randomText(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n/2)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return []byte(hex.EncodeToString(b))
}

func fileSize(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// archiveSize returns the size of all archived logs.
func archiveSize(t *testing.T, state string) (size int64) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(state, "logs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		size += fileSize(t, log)
	}
	return size
}
