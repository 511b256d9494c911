package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The guard is a separate process that cleans up after the tests, even if a
// time limit or SIGKILL ends them. It waits for the end of its standard input,
// which the tests hold open. Then it ends all processes that run in the
// temporary folder, and removes the containers, the network namespaces and the
// folder.

// envGuard makes the test binary run as the guard. Its value contains the
// process ID of the tests and the temporary folder.
const envGuard = "ZEEKWIRE_LIVE_GUARD"

// startGuard starts the guard of this process. The returned function ends it,
// and returns an error if the tests left anything behind, which the guard lists
// on standard error.
func startGuard() (end func() error, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	guard := exec.Command(program)
	guard.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", envGuard, os.Getpid(), root))
	guard.Stderr = os.Stderr
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // not interrupted by Ctrl-C
	hold, err := guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := guard.Start(); err != nil {
		return nil, err
	}
	return func() error { return errors.Join(hold.Close(), guard.Wait()) }, nil
}

// standGuard runs the guard and returns its exit code: 1 if the tests left
// anything behind.
func standGuard(order string) int {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	pid, folder, _ := strings.Cut(order, " ")
	of, err := strconv.Atoi(pid)
	if err != nil || !filepath.IsAbs(folder) {
		fmt.Fprintf(os.Stderr, "live: guard of %q\n", order)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // returns when the tests end, for any reason
	left := clearUp("process", func() map[string]string { return processesIn(folder) }, killProcess)
	// Containers come after processes, which may be about to create some.
	left = append(left, clearUp("container", func() map[string]string { return containersOf(of) }, removeContainer)...)
	left = append(left, clearUp("network namespace", func() map[string]string { return namespacesOf(of) }, removeNamespace)...)
	if err := os.RemoveAll(folder); err != nil {
		left = append(left, err.Error())
	}
	for _, what := range left {
		fmt.Fprintln(os.Stderr, "live: removed remains of the tests:", what)
	}
	return min(len(left), 1)
}

// clearUp ends resources of a kind and returns their descriptions. The function
// there returns the descriptions of existing resources by ID. They first have
// some time to end by themselves.
func clearUp(kind string, there func() map[string]string, end func(id string)) (left []string) {
	const grace, attempts = 20, 100
	ended := make(map[string]bool)
	for n := range attempts {
		found := there()
		if len(found) == 0 {
			break
		}
		for id, what := range found {
			if n < grace {
				continue
			}
			if !ended[id] {
				left = append(left, fmt.Sprintf("%s %s %s", kind, id, what))
				ended[id] = true
			}
			end(id)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left
}

// processesIn returns the commands, by process ID, of the processes whose
// working directory is the folder or below it. Without /proc it returns none.
func processesIn(folder string) map[string]string {
	found := make(map[string]string)
	links, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is well-formed
	for _, link := range links {
		dir, err := os.Readlink(link)
		if err != nil || dir != folder && !strings.HasPrefix(dir, folder+"/") {
			continue // the process of another user, a zombie, or outside of the folder
		}
		process := filepath.Dir(link)
		command, _ := os.ReadFile(filepath.Join(process, "cmdline")) // for the message
		found[filepath.Base(process)] = strings.ReplaceAll(string(command), "\x00", " ")
	}
	return found
}

func killProcess(id string) {
	if pid, err := strconv.Atoi(id); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
}

// namespacePrefix returns the prefix of the names of network namespaces, and of
// the interfaces in them, for the tests with a process ID. Names of interfaces
// have at most 15 letters.
func namespacePrefix(pid int) string { return fmt.Sprintf("zw%x-", pid) }

func namespacesOf(pid int) map[string]string {
	found := make(map[string]string)
	names, _ := filepath.Glob("/run/netns/" + namespacePrefix(pid) + "*") // the pattern is well-formed
	for _, name := range names {
		found[filepath.Base(name)] = ""
	}
	return found
}

func removeNamespace(name string) {
	if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "live: network namespaces: %v: %s", err, out)
	}
}
