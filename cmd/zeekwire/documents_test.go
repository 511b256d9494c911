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
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// The documents contain blocks of commands, which TestDocuments runs in the
// order of the text, as a reader would. The attribute after the language of a
// block specifies how:
//
//	```sh              run the commands; they must succeed
//	```sh until=TEXT   repeat the commands until their output contains TEXT
//	```sh background   start the commands, which must run to the end of the document
//	```sh background=stopped  start the commands, which a later block stops
//	```sh terminal     run the commands on a terminal; a text block with their
//	                   output follows, whose numbers and IDs may differ
//	```sh skip=REASON  do not run the commands
//	```ini file=NAME   write the text to a file, with any language
//
// Blocks of other languages are not run. A block inside an HTML comment is run,
// and hidden from readers: it starts a stand-in for a program that a test lacks.
// All blocks of a document share a directory and their shell variables.
// "zeekwire" is the program under test, "nats-server" the server of NATS, and
// ./repository the source.
var documents = []string{
	"README.md", "docs/tutorial.md", "docs/howto/deploy.md", "docs/howto/sites.md", "docs/howto/operate.md", "docs/howto/secure.md",
	"docs/howto/monitor.md", "docs/howto/observe.md", "docs/howto/alerts.md", "docs/howto/http-api.md", "docs/howto/console.md", "docs/howto/gateway.md", "docs/howto/logs.md", "docs/howto/upgrade.md", "docs/howto/from-zeekctl.md", "docs/howto/from-zeek-conf.md",
	"docs/howto/replace-controller.md", "docs/howto/interoperate.md",
	"docs/howto/record.md", "docs/howto/install.md", "docs/howto/containers.md", "docs/howto/service.md", "docs/howto/configure.md", "docs/howto/several-controllers.md", "docs/threat-model.md", "docs/performance.md",
}

// skipReasons are the reasons for which a block may be skipped.
var skipReasons = map[string]string{
	"machines":   "connects to another machine",
	"builds":     "calls the Makefile, which runs these tests",
	"zeek":       "needs a real Zeek: the live suite does the same",
	"nats":       "needs the client of NATS: the tests of broker/gateway/bridge do the same",
	"systemd":    "needs systemd, and changes the machine",
	"package":    "changes the machine: make dist-check runs the same lines in a container",
	"redhat":     "needs dnf, and changes the machine: make dist-check runs the same lines in a root directory",
	"containers": "builds and runs container images",
	"network":    "fetches the released source",
	"terminal":   "draws on a terminal until it is interrupted",
}

// requirements are programs that the commands of documents need.
var requirements = map[string][]string{
	"docs/howto/several-controllers.md": {"etcd", "etcdctl", "ss"},
}

// blockAttributes are the attributes of blocks by language. Each block has at
// most one. Files may have any language.
var blockAttributes = map[string][]string{
	"sh":   {"until", "background", "terminal", "skip"},
	"go":   {"program"},
	"text": {"output"},
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
			if checkBlocks(t, document); t.Failed() {
				return // without its attribute, a block might run forever
			}
			for _, program := range requirements[document] {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("DOCUMENTS NOT RUN: no %s", program)
				}
			}
			r := newReader(t)
			for i, b := range blocksOf(t, document) {
				place := fmt.Sprintf("%s:%d", document, b.line)
				if _, terminal := b.attributes["terminal"]; terminal {
					r.compare(t, place, b.text, blocksOf(t, document)[i+1:])
				} else {
					r.follow(t, place, b)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

// reader runs the commands of a document in a network namespace of its own, so
// that they can use the default ports and the addresses of other machines.
type reader struct {
	dir      string
	network  int    // process whose network namespace the commands use
	cache    string // of Go's compiler, which is in the home directory otherwise
	ctx      context.Context
	services []*background
}

// background is a block of commands that runs in the background.
type background struct {
	place    string
	stopped  bool          // whether it may end: a block or the test stops it
	ended    chan struct{} // closed when it has ended
	err      error         // of the commands, when they have ended
	output   bytes.Buffer  // of the commands, when they have ended
	reported bool          // whether its early end was reported
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
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{dir: t.TempDir(), ctx: ctx, cache: strings.TrimSpace(string(cache))}
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
		"ip link set lo up && ip addr add 10.0.0.1/32 dev lo && ip addr add 10.0.0.2/32 dev lo && ip addr add 10.0.0.3/32 dev lo && echo ready && exec cat")
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

// command returns a command in the network and with the variables and functions of
// earlier blocks. Its own are kept for later blocks.
func (r *reader) command(text string) *exec.Cmd {
	return r.inNetwork(text + fmt.Sprintf("{ export -p | grep -v -E ' (BASHOPTS|SHELLOPTS|PWD|OLDPWD|SHLVL|_)='; declare -f; } > %q\n", r.variables()))
}

// variables returns the name of the file with the variables of earlier blocks.
func (r *reader) variables() string { return filepath.Join(r.dir, ".variables") }

// inNetwork returns a command in the network and with the variables of earlier
// blocks.
func (r *reader) inNetwork(text string) *exec.Cmd {
	script := fmt.Sprintf("set -eu -o pipefail -o allexport\n[ ! -e %[1]q ] || . %[1]q\n%[2]s", r.variables(), text)
	cmd := exec.CommandContext(r.ctx, "nsenter", "--target", fmt.Sprint(r.network), "--user", "--net", "--preserve-credentials",
		"bash", "-c", script)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "GOCACHE="+r.cache, "NO_COLOR=1") // PATH has the program under test
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// follow runs a block.
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
	if how, found := b.attributes["background"]; found {
		r.start(t, &background{place: place, stopped: how == "stopped"}, b.text)
		return
	}
	until, repeat := b.attributes["until"]
	for {
		out, err := r.command(b.text).CombinedOutput()
		if err == nil && bytes.Contains(out, []byte(until)) {
			return
		}
		r.checkServices(t)
		if !repeat || t.Failed() || r.ctx.Err() != nil {
			t.Errorf("%s: %v, until %q\n%s%s", place, err, until, b.text, out)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// start starts a service, which ends with the test.
func (r *reader) start(t *testing.T, s *background, text string) {
	t.Helper()
	cmd := r.inNetwork(text)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() {
		s.err = cmd.Wait()
		close(s.ended)
	}()
	r.services = append(r.services, s)
	t.Cleanup(func() {
		r.checkServices(t)
		s.stopped = true
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the whole group
		select {
		case <-s.ended:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-s.ended
			t.Errorf("%s: the service does not end: %v", s.place, s.err)
		}
		if t.Failed() {
			t.Logf("%s\n%s", s.place, &s.output)
		}
	})
}

// checkServices reports services that have ended although no block stops them.
func (r *reader) checkServices(t *testing.T) {
	t.Helper()
	if r.ctx.Err() != nil {
		return // the end of the context ended them
	}
	for _, s := range r.services {
		select {
		case <-s.ended:
			if !s.stopped && !s.reported {
				s.reported = true
				t.Errorf("%s: the service ended: %v", s.place, s.err)
			}
		default:
		}
	}
}

// compare runs commands on a terminal and compares the output with the text block
// that follows.
func (r *reader) compare(t *testing.T, place, text string, following []block) {
	t.Helper()
	if len(following) == 0 || following[0].language != "text" {
		t.Errorf("%s: no output follows the commands", place)
		return
	}
	const columns = 120
	cmd := r.inNetwork(text)
	cmd.SysProcAttr = nil // the terminal needs a session of its own
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	out, err := io.ReadAll(tty)
	if err != nil && !errors.Is(err, syscall.EIO) { // EIO: the other end is closed
		t.Fatal(err)
	}
	screen := visible(string(out), columns)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", place, err, screen)
		return
	}
	if diff := cmp.Diff(masked(following[0].text), masked(screen)); diff != "" {
		t.Errorf("%s: the output differs (-document +output)\n%s\nthe output is\n%s", place, diff, screen)
	}
}

var (
	uuids   = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	builds  = regexp.MustCompile(`zeekwire (devel|v[0-9])\S*`)
	numbers = regexp.MustCompile(`\b[0-9][0-9a-z]*\b`)
	gaps    = regexp.MustCompile(`[ \t]+`)
)

// masked returns output without the parts that differ between runs: IDs,
// versions, numbers and times, and the width of columns.
func masked(text string) string {
	text = uuids.ReplaceAllString(text, "ID")
	text = builds.ReplaceAllString(text, "zeekwire VERSION")
	text = numbers.ReplaceAllString(text, "N")
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		lines = append(lines, strings.TrimSpace(gaps.ReplaceAllString(line, " ")))
	}
	return strings.Join(lines, "\n")
}

// TestDocumentsAreListed checks that every document with commands is run.
func TestDocumentsAreListed(t *testing.T) {
	for _, name := range allDocuments(t) {
		for _, b := range blocksOf(t, name) {
			if b.language == "sh" && !slices.Contains(documents, name) {
				t.Errorf("%s:%d has commands that no test runs", name, b.line)
				break
			}
		}
	}
}

// TestBlocks checks the blocks of all documents.
func TestBlocks(t *testing.T) {
	for _, name := range allDocuments(t) {
		checkBlocks(t, name)
	}
}

// checkBlocks checks that every block has a language, and no attribute that the
// tests would ignore.
func checkBlocks(t *testing.T, document string) {
	t.Helper()
	for _, b := range blocksOf(t, document) {
		if b.language == "" {
			t.Errorf("%s:%d: the block has no language: use sh for commands, and text for output", document, b.line)
		}
		for attribute := range b.attributes {
			if attribute != "file" && !slices.Contains(blockAttributes[b.language], attribute) {
				t.Errorf("%s:%d: unknown attribute %q of a block of %q", document, b.line, attribute, b.language)
			}
		}
	}
}

// allDocuments returns README.md and all documents in docs.
func allDocuments(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md"}
	err := filepath.WalkDir(filepath.Join(docRoot, "docs"), func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		name, err := filepath.Rel(docRoot, path)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
