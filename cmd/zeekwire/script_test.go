package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/broker/security/certtest"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

var update = flag.Bool("update", false, "update the expected outputs in scripts")

// raceOptions make commands with the race detector exit without waiting a
// second for reports.
const raceOptions = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"zeekwire": func() {
		completionPatience = scriptPatience
		main()
	}, "nats-server": natsServer})
}

// leakChecked is a testing.M that fails if goroutines are left running.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	// Scripts mostly wait, so that many can run in parallel. A flag on the
	// command line overrides this, because it is parsed later.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// TestScripts runs the client commands as users do. The controller and the agents
// run in this process, with simulated nodes. In addition to testscript's own
// commands, scripts have the commands
//
//	controller [-zeek] [-http] [-timeout DURATION] [-start-limit DURATION]
//	                               start a controller and make the client commands
//	                               use it; -zeek: support only the requests of
//	                               Zeek's controller; -http: open its HTTP API, whose
//	                               address is $API; -timeout: timeout of requests;
//	                               -start-limit: its setting start-limit
//	agent NAME [SCENARIO]          start an agent that connects to the controller;
//	                               its nodes follow the scenario in a file
//	end NAME                       stop an agent, or the controller
//	await PATTERN COMMAND...       run a command until its output matches
//	piped COMMAND...               run a command and write its standard output to
//	                               the file out, its standard error to the file err
//	terminal [-size CxR] [-until PATTERN [-press KEYS]] [-answer TEXT] COMMAND...
//	                               run a command on a terminal, and interrupt it,
//	                               or press the keys, when it has shown the
//	                               pattern, or type the text
//	                               and Enter when it asks; write the visible
//	                               text at the end to the file screen, and the
//	                               complete output to the file written
//
// In the files, placeholders replace the parts of outputs that differ between
// runs.
func TestScripts(t *testing.T) {
	t.Parallel()
	p := scripts(nil)
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

// TestScriptsOverHTTP runs scripts with a controller whose clients use its HTTP API, with
// TLS. The outputs are the same as over WebSockets. Scripts are left out whose outputs name
// the ports of the controller, or the messages to other clients, which HTTP does not have.
func TestScriptsOverHTTP(t *testing.T) {
	if *update {
		t.Skip("the outputs are those of TestScripts")
	}
	t.Parallel()
	ca := certtest.New(t)
	cert, key := ca.Issue(t, "localhost", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	p := scripts(&webFiles{ca.File, security.WebConfig{CertFile: cert, KeyFile: key}})
	for _, name := range []string{"queries", "sites", "figures", "diag", "httpapi"} {
		p.Files = append(p.Files, "testdata/script/"+name+".txtar")
	}
	testscript.Run(t, p)
}

// webFiles are the certificates of a controller for HTTPS.
type webFiles struct {
	authority string // file
	security.WebConfig
}

// scripts returns the parameters of scripts. With certificates, clients use HTTPS.
func scripts(https *webFiles) testscript.Params {
	return testscript.Params{
		UpdateScripts:       *update,
		ContinueOnError:     *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			layer, err := security.New(security.Config{Mode: security.Off})
			env.Values[servicesKey{}] = &services{security: layer, https: https, running: make(map[string]func())}
			env.Setenv("TERM", "xterm-256color")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", raceOptions)
			env.Setenv("ZEEKWIRE_AGENT_DISK_WARN", "0") // the disk of the tests may be fuller
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"controller": startController,
			"agent":      startAgent,
			"end":        stopService,
			"await":      awaitOutput,
			"piped":      piped,
			"terminal":   onTerminal,
		},
		Condition: func(name string) (bool, error) {
			if name != "https" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return https != nil, nil
		},
	}
}

type servicesKey struct{}

// services are the running services of one script.
type services struct {
	security *security.Layer
	https    *webFiles         // nil if clients use WebSockets
	agentsAt string            // address of the controller for agents
	running  map[string]func() // stops a service and waits for it
}

func servicesOf(ts *testscript.TestScript) *services {
	return ts.Value(servicesKey{}).(*services)
}

// start runs a service until it is stopped or the script ends.
func (s *services) start(ts *testscript.TestScript, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			ts.Fatalf("%s: %v", name, err)
		}
	})
	s.running[name] = stop
	ts.Defer(stop)
}

func startController(ts *testscript.TestScript, neg bool, args []string) {
	s := servicesOf(ts)
	type addresses struct{ native, clients, http net.Addr }
	started := make(chan addresses, 1)
	set := newLoopbackController(ts.MkAbs("."))
	c := controllerService{
		settings: set, security: s.security, log: zerolog.Nop(),
		started: func(native, clients, http net.Addr) { started <- addresses{native, clients, http} },
	}
	settings := s.secure(ts, &c)
	options := flag.NewFlagSet("controller", flag.ContinueOnError)
	zeeks := options.Bool("zeek", false, "")
	web := options.Bool("http", s.https != nil, "")
	options.DurationVar(&set.machine.RequestTimeout, "timeout", set.machine.RequestTimeout, "")
	options.DurationVar(&set.machine.StartLimit, "start-limit", set.machine.StartLimit, "")
	ts.Check(options.Parse(args))
	if *web {
		set.http.set("127.0.0.1", 0)
	}
	if *zeeks {
		c.dialects = []*zeekapi.Dialect{
			management.Dialect(management.DefaultTopics), clusteragent.Dialect(clusteragent.DefaultTopics),
		}
	}
	s.start(ts, "controller", c.run)
	select {
	case a := <-started:
		s.agentsAt = a.native.String()
		// At a port other than the default one, detecting the transport would take
		// time. A single attempt to connect may take long on a busy machine.
		used, transport := a.clients, "websocket"
		if s.https != nil {
			used, transport = a.http, "http"
		}
		ts.Setenv("ZEEK_CLIENT_CONFIG_SETTINGS", fmt.Sprintf("controller.port=%d client.transport=%s "+
			"client.peering_attempts=1 client.peering_retry_delay_secs=%.0f%s", portOf(used), transport, scriptPatience.Seconds(), settings))
		ts.Setenv("CONTROLLER", a.clients.String())
		if a.http != nil {
			ts.Setenv("API", a.http.String())
		}
	case <-time.After(scriptPatience):
		ts.Fatalf("the controller does not start")
	}
}

// secure gives a controller a certificate for HTTPS, if the script uses that, and returns
// the settings of clients.
func (s *services) secure(ts *testscript.TestScript, c *controllerService) string {
	if s.https == nil {
		return ""
	}
	var err error
	c.gate.web, err = security.NewWeb(s.https.WebConfig)
	ts.Check(err)
	return " ssl.enable=yes ssl.cafile=" + s.https.authority
}

func startAgent(ts *testscript.TestScript, neg bool, args []string) {
	s := servicesOf(ts)
	started := make(chan struct{})
	set := newSimulatedAgent(args[0], ts.MkAbs(args[0]))
	set.controllers = []string{s.agentsAt}
	set.measureInterval = 0 // what status shows must not depend on the time
	if len(args) > 1 {
		set.scenario = ts.MkAbs(args[1])
	}
	a := agentService{settings: set, security: s.security, log: zerolog.Nop(), started: func(net.Addr) { close(started) }}
	s.start(ts, set.name, a.run)
	select {
	case <-started:
	case <-time.After(scriptPatience):
		ts.Fatalf("agent %s does not start", set.name)
	}
}

func stopService(ts *testscript.TestScript, neg bool, args []string) {
	s := servicesOf(ts)
	s.running[args[0]]()
	delete(s.running, args[0])
}

// scriptPatience limits the time of one wait. It is much longer than any wait
// takes.
const scriptPatience = time.Minute

func awaitOutput(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	deadline := time.Now().Add(scriptPatience)
	var out string
	// Longer pauses avoid starting hundreds of processes a second.
	for pause := 10 * time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, 200*time.Millisecond) {
		ts.Exec(args[1], args[2:]...)
		if out = ts.ReadFile("stdout"); pattern.MatchString(out) != neg {
			return
		}
		time.Sleep(pause)
	}
	ts.Fatalf("no match; the last output is:\n%s", out)
}

func piped(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[0], args[1:]...)
	write(ts, "out", ts.ReadFile("stdout"))
	write(ts, "err", ts.ReadFile("stderr"))
	if (err != nil) != neg {
		ts.Fatalf("%v", err)
	}
}

func onTerminal(ts *testscript.TestScript, neg bool, args []string) {
	size := &pty.Winsize{Cols: 100, Rows: 40}
	var until *regexp.Regexp
	answer, press := "", ""
	for strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-size":
			_, err := fmt.Sscanf(args[1], "%dx%d", &size.Cols, &size.Rows)
			ts.Check(err)
		case "-until":
			until = regexp.MustCompile(args[1])
		case "-answer":
			answer = args[1] + "\n"
		case "-press":
			press = args[1]
		}
		args = args[2:]
	}
	cmd := exec.Command(args[0], args[1:]...)
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	cmd.Path, cmd.Err = path, nil
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{
		"PATH", "HOME", "TERM", "TZ", "NO_COLOR", "GOCOVERDIR", "GORACE",
		"ZEEK_CLIENT_CONFIG_FILE", "ZEEK_CLIENT_CONFIG_SETTINGS", "ZEEKWIRE_TOKEN",
	} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	tty, err := pty.StartWithSize(cmd, size)
	ts.Check(err)
	defer tty.Close()
	kill := time.AfterFunc(scriptPatience, func() { cmd.Process.Kill() })
	defer kill.Stop()

	var written bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := tty.Read(buf)
		written.Write(buf[:n])
		if until != nil && until.MatchString(visible(written.String(), int(size.Cols))) {
			if press != "" {
				_, err := tty.WriteString(press)
				ts.Check(err)
			} else {
				ts.Check(cmd.Process.Signal(os.Interrupt))
			}
			until = nil
		}
		if answer != "" && strings.HasSuffix(written.String(), "[y/N] ") {
			_, err := tty.WriteString(answer)
			ts.Check(err)
			answer = ""
		}
		if errors.Is(err, syscall.EIO) || err == io.EOF { // the other end is closed
			break
		}
		ts.Check(err)
	}
	err = cmd.Wait()
	text := written.String()
	write(ts, "screen", visible(text, int(size.Cols)))
	write(ts, "written", strings.NewReplacer("\x1b", "^[", "\r", "").Replace(text))
	if (err != nil) != neg {
		ts.Fatalf("%v\n%s", err, text)
	}
}

// lookPath returns the path of a command, searched in the PATH of the script.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range strings.Split(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if path := dir + string(os.PathSeparator) + name; exec.Command(path).Err == nil {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

// visible returns the text that a terminal shows after the output text. It
// supports only the control sequences of package terminal. For any other
// sequence it returns a message.
func visible(text string, columns int) string {
	lines := [][]rune{nil}
	row, col := 0, 0
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; r {
		case '\r':
			col = 0
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, nil)
			}
		case '\x1b':
			end := i + 2
			for end < len(runes) && (runes[end] == ';' || runes[end] >= '0' && runes[end] <= '9') {
				end++
			}
			if end >= len(runes) {
				return joinLines(lines) // the output is incomplete
			}
			n, _ := strconv.Atoi(string(runes[i+2 : end]))
			switch runes[end] {
			case 'm':
			case 'A':
				row = max(0, row-n)
			case 'J':
				lines = append(lines[:row], nil)
			default:
				return fmt.Sprintf("unexpected sequence %q", runes[i:end+1])
			}
			i = end
		default:
			if col >= columns {
				if row++; row == len(lines) {
					lines = append(lines, nil)
				}
				col = 0
			}
			lines[row] = append(lines[row][:min(col, len(lines[row]))], r)
			col++
		}
	}
	return joinLines(lines)
}

func joinLines(lines [][]rune) string {
	var b strings.Builder
	for i, l := range lines {
		if i < len(lines)-1 || len(l) > 0 {
			b.WriteString(string(l) + "\n")
		}
	}
	return b.String()
}

// changing lists the parts of outputs that differ between runs, with their
// placeholders.
var changing = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "TIME"},
	{regexp.MustCompile(`\b\d+\.\ds\b`), "TOOK"},
	{regexp.MustCompile(`([ (])(\d+[sm]|\d+h\d+m)\b`), "${1}AGE"},
	{regexp.MustCompile(`\b419\d{4}\b`), "PID"}, // processes of simulated nodes
	{regexp.MustCompile(`("pid": |agent +RUNNING +)` + strconv.Itoa(os.Getpid()) + `\b`), "${1}PID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`zeekwire (devel|v\d)[-+.\w]*`), "zeekwire VERSION"},
	{regexp.MustCompile(`"path": "/[^"]*/`), `"path": "DIR/`},
	{regexp.MustCompile(`(VERSION +)\d+%`), "${1}DISK%"},
	{regexp.MustCompile(`"(available|free|size|used|inodes|inodes_free)": \d+`), `"$1": BYTES`},
	{regexp.MustCompile(`(\S)  +`), "$1  "}, // the width of columns depends on their content
}

// write writes a file of the script.
func write(ts *testscript.TestScript, name, text string) {
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.word)
	}
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
}
