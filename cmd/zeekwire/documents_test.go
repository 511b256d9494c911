package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The documents contain blocks of commands, which TestDocuments runs in the order
// of the text, as a reader would. What follows the language of a block says how:
//
//	```sh              run the commands; they must succeed
//	```sh until=TEXT   repeat the commands until their output contains TEXT
//	```sh background   start the commands, and go on while they run
//	```sh skip=REASON  do not run the commands
//	```ini file=NAME   write the text to a file, with any language
//
// Blocks of other languages are not run. All blocks of a document share a
// directory and their shell variables. "zeekwire" is the program under test, and
// ./repository the source.
var documents = []string{
	"README.md", "docs/tutorial.md", "docs/howto/deploy.md", "docs/howto/operate.md", "docs/howto/secure.md",
	"docs/howto/monitor.md", "docs/howto/upgrade.md", "docs/howto/replace-controller.md", "docs/howto/interoperate.md",
	"docs/howto/record.md", "docs/howto/service.md", "docs/howto/configure.md",
}

// skipReasons are the reasons for which a block may be skipped.
var skipReasons = map[string]string{
	"builds":   "the Makefile is run by whoever runs this test",
	"zeek":     "needs a real Zeek: the live suite does the same",
	"systemd":  "needs systemd, and changes the machine",
	"terminal": "draws on a terminal until it is interrupted",
}

const docRoot = "../.."

// block is a fenced block of a document.
type block struct {
	line       int
	language   string
	attributes map[string]string
	text       string
}

var fence = regexp.MustCompile("^```([a-z]*) ?(.*)$")

// blocksOf returns the fenced blocks of a document.
func blocksOf(t *testing.T, document string) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docRoot, document))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	var current *block
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		begin := fence.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		switch {
		case current == nil && begin != nil:
			current = &block{line: number, language: begin[1], attributes: attributes(begin[2])}
		case current != nil && begin != nil:
			blocks = append(blocks, *current)
			current = nil
		case current != nil:
			current.text += line
		}
	}
	if current != nil {
		t.Fatalf("%s:%d: the block has no end", document, current.line)
	}
	return blocks
}

// attributes returns the words after the language of a block. The value of "until"
// and of "file" is the rest of the line.
func attributes(text string) map[string]string {
	all := make(map[string]string)
	if text != "" {
		name, value, _ := strings.Cut(text, "=")
		all[name] = value
	}
	return all
}

// TestDocuments runs all commands of the documents.
func TestDocuments(t *testing.T) {
	for _, document := range documents {
		t.Run(strings.TrimSuffix(filepath.Base(document), ".md"), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			for _, b := range blocksOf(t, document) {
				r.follow(t, fmt.Sprintf("%s:%d", document, b.line), b)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// reader does what a document says, in a network of its own, so that it can use
// the default ports, and addresses of other machines.
type reader struct {
	dir     string
	network int // process whose network namespace the commands use
	ctx     context.Context
}

func newReader(t *testing.T) *reader {
	t.Helper()
	for _, tool := range []string{"bash", "unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("DOCUMENTS NOT RUN: no %s", tool)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	r := &reader{dir: t.TempDir(), ctx: ctx}
	r.network = startNetwork(t)
	root, err := filepath.Abs(docRoot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(r.dir, "repository")); err != nil {
		t.Fatal(err)
	}
	return r
}

// startNetwork starts a network namespace and returns the ID of a process in it.
func startNetwork(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--net", "sh", "-c",
		"ip link set lo up && ip addr add 10.0.0.1/32 dev lo && ip addr add 10.0.0.2/32 dev lo && echo ready && exec cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Skipf("DOCUMENTS NOT RUN: no network namespace can be made here: %v", err)
	}
	return cmd.Process.Pid
}

// command returns a command in the network and with the variables of earlier
// blocks.
func (r *reader) command(text string) *exec.Cmd {
	script := fmt.Sprintf(`set -eu -o pipefail -o allexport
[ ! -e %[1]q ] || . %[1]q
%s
export -p | grep -v -E ' (BASHOPTS|SHELLOPTS|PWD|OLDPWD|SHLVL|_)=' > %[1]q
`, filepath.Join(r.dir, ".variables"), text)
	cmd := exec.CommandContext(r.ctx, "nsenter", "--target", fmt.Sprint(r.network), "--user", "--net", "--preserve-credentials",
		"bash", "-c", script)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "NO_COLOR=1") // PATH has the program under test
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// follow does what a block says.
func (r *reader) follow(t *testing.T, place string, b block) {
	t.Helper()
	if name := b.attributes["file"]; name != "" {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(b.text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.language != "sh" {
		return
	}
	if reason, skip := b.attributes["skip"]; skip {
		if skipReasons[reason] == "" {
			t.Errorf("%s: skipped without a known reason: %q", place, reason)
		}
		return
	}
	if _, background := b.attributes["background"]; background {
		r.start(t, place, b.text)
		return
	}
	until, repeat := b.attributes["until"]
	for {
		out, err := r.command(b.text).CombinedOutput()
		if err == nil && bytes.Contains(out, []byte(until)) {
			return
		}
		if !repeat || r.ctx.Err() != nil {
			t.Errorf("%s: %v\n%s%s", place, err, b.text, out)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// start starts a service, which ends with the test.
func (r *reader) start(t *testing.T, place, text string) {
	t.Helper()
	var output bytes.Buffer
	cmd := r.command(text)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the whole group
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			t.Errorf("%s: the service does not end: %v", place, <-done)
		}
		if t.Failed() {
			t.Logf("%s\n%s", place, &output)
		}
	})
}

// TestDocumentsAreListed checks that every document with commands is run.
func TestDocumentsAreListed(t *testing.T) {
	listed := make(map[string]bool)
	for _, name := range documents {
		listed[name] = true
	}
	err := filepath.WalkDir(filepath.Join(docRoot, "docs"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		name, err := filepath.Rel(docRoot, path)
		if err != nil {
			return err
		}
		for _, b := range blocksOf(t, name) {
			if b.language == "sh" && !listed[filepath.ToSlash(name)] {
				t.Errorf("%s:%d has commands that no test runs", name, b.line)
				break
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
