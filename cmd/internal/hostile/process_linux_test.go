package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
)

// process is a service under attack.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	err   error         // of its end
	http  string        // address of its metrics
	log   string        // name of the file with its log
	read  int64         // bytes of the log that have been checked
}

// startProcess starts a service in a cage of its own. Files is the limit of its file
// descriptors, 0 for none.
func startProcess(t *testing.T, binary, name, metrics string, files int, args ...string) *process {
	t.Helper()
	p := &process{name: name, http: metrics, ended: make(chan struct{}), log: filepath.Join(t.TempDir(), name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args = append([]string{name, "--metrics-listen", metrics}, args...)
	if files > 0 {
		args = append([]string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), binary}, args...)
		binary = "/bin/sh"
	}
	p.cmd = newCage(t, name).command(binary, args...)
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends the process. It may have ended already.
func (p *process) stop(t *testing.T) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
		t.Errorf("the %s had to be killed", p.name)
	}
}

// alive returns an error if the process has ended.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the %s died: %v\n%s", p.name, p.err, p.lastLines())
	default:
		return nil
	}
}

func (p *process) lastLines() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// proc returns the name of a file about the process.
func (p *process) proc(name string) string {
	return fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name)
}

// forgetPeak begins a new measurement of the peak of memory.
func (p *process) forgetPeak() error { return os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

// memory returns the resident memory of the process in bytes: the peak since
// forgetPeak, and now.
func (p *process) memory() (peak, now int64) {
	for _, line := range lines(p.proc("status")) {
		key, value, _ := strings.Cut(line, ":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch key {
		case "VmHWM":
			peak = kilobytes << 10
		case "VmRSS":
			now = kilobytes << 10
		}
	}
	return peak, now
}

// usage counts the resources of a process other than memory.
type usage struct{ goroutines, descriptors int }

var metricsClient = http.Client{Timeout: answerLimit, Transport: &http.Transport{DisableKeepAlives: true}}

// usage returns what the process uses now.
func (p *process) usage() (u usage, err error) {
	files, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		return u, err
	}
	u.descriptors = len(files)
	response, err := metricsClient.Get("http://" + p.http + "/metrics")
	if err != nil {
		return u, err
	}
	defer response.Body.Close()
	for s := bufio.NewScanner(response.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), "go_goroutines "); ok {
			u.goroutines, err = strconv.Atoi(value)
			return u, err
		}
	}
	return u, fmt.Errorf("the metrics of the %s have no go_goroutines", p.name)
}

// checkLog checks what the process has logged since the last call, and returns its
// size.
func (p *process) checkLog() (size int64, err error) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return 0, err
	}
	text = text[p.read:]
	p.read += int64(len(text))
	for line := range bytes.Lines(text) {
		s := strings.TrimSuffix(string(line), "\n")
		if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return int64(len(text)), fmt.Errorf("the %s logged control characters: %.200q", p.name, s)
		}
		if strings.HasPrefix(s, "2026-01-01T00:00:00Z") {
			return int64(len(text)), fmt.Errorf("a line in the log of the %s is forged", p.name)
		}
	}
	return int64(len(text)), nil
}
