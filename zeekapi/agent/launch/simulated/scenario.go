package simulated

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// Scenario describes the behaviour of nodes. With a nil Scenario, nodes start, respond and
// stop immediately and without errors. A Scenario may be used concurrently.
type Scenario struct {
	parts []part // the first match applies
}

type part struct {
	pattern string
	behaviour
}

// behaviour describes a node over all its starts.
type behaviour struct {
	checkError string
	checkAfter int // starts before checkError
	checkTime  time.Duration
	portsInUse []uint16 // sorted
	edited     []string
	startTime  time.Duration
	silent     bool  // never sends a hello
	failures   times // starts that fail
	crashes    times // runs that end by themselves, crashAfter the hello
	crashAfter time.Duration
	end        error // exit error of failures and crashes; nil: exit code 0
	stdout     string
	stderr     string
	stopTime   time.Duration
	stops      bool // whether it ends when stopped
	answerTime time.Duration
	answers    bool              // whether it responds to requests
	values     map[string]string // of globals, as JSON
	packets    float64           // per second, for a node with an interface
	drops      float64           // share of the packets
	unseen     []string          // other nodes that it does not see
}

// times is a number of occurrences, or always.
type times int

const always times = -1

// covers reports whether there is another occurrence after n occurrences.
func (t times) covers(n int) bool { return t == always || n < int(t) }

// normal returns the behaviour of a node without failures.
func normal() behaviour {
	return behaviour{stops: true, answers: true, end: exitStatus(1), packets: packetsPerSecond}
}

// ParseScenario parses a scenario. The name of the file appears in errors. A scenario is an
// INI file like the configuration of a cluster. The name of a section is a node name or a
// pattern with the wildcards *, ? and [a-z]. The first section that matches a node applies.
// The settings in [DEFAULT] apply to all sections. All keys are optional:
//
//	check-error = TEXT   error of the agent's checks of the node
//	check-error-after = N
//	                     number of starts before check-error applies (default 0)
//	check-time = TIME    time that a check of the node takes (default 0)
//	ports-in-use = PORTS TCP ports, one per line, that other programs use on the
//	                     machine of the node; its check fails if it has one of them
//	edited = FILES       scripts, one per line, that change after the first
//	                     start of the node
//	start-time = TIME    time from the start to the hello (default 0)
//	silent = true        send no hello
//	fail-starts = N      number of starts that fail, or all
//	crash-after = TIME   time from the hello to a crash
//	crashes = N          number of crashes, or all (default all with crash-after)
//	exit = CODE          exit code of failures and crashes (default 1), or a
//	                     signal such as SIGSEGV
//	stdout = TEXT        standard output, of one or more lines
//	stderr = TEXT        standard error, of one or more lines
//	stop-time = TIME     time from the request to stop to the end, or never
//	answer-time = TIME   time to respond to a request, or never
//	id-values = NAME JSON
//	                     values of globals, one per line
//	packets = N          packets per second of a node with an interface
//	                     (default 1000)
//	drops = N%           share of the packets that the node drops (default 0%)
//	unseen = NODES       other nodes, one per line, that the node does not see
//
// All errors in the content are returned together, as configparser.Errors.
func ParseScenario(name string, r io.Reader) (*Scenario, error) {
	file, err := configparser.ReadRaw(name, r)
	var errs configparser.Errors
	if err != nil && (file == nil || !errors.As(err, &errs)) {
		return nil, err
	}
	s := new(Scenario)
	reported := make(map[int]bool) // an error in [DEFAULT] appears in all sections
	for _, section := range file.Sections {
		p := part{section.Name, normal()}
		if _, err := path.Match(section.Name, ""); err != nil {
			errs.Add(&configparser.Error{File: name, Line: section.Line, Section: section.Name, Text: fmt.Sprintf("[%s] is not a valid pattern for names", section.Name)})
		}
		for _, o := range section.Options {
			if err := p.set(o.Key, o.Value); err != nil && !reported[o.Line] {
				reported[o.Line] = true
				errs.Add(&configparser.Error{File: name, Line: o.Line, Section: section.Name, Key: o.Key, Text: fmt.Sprintf("%s: %v", o.Written, err)})
			}
		}
		s.parts = append(s.parts, p)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// of returns the behaviour of a node.
func (s *Scenario) of(node string) behaviour {
	if s != nil {
		for _, p := range s.parts {
			if ok, _ := path.Match(p.pattern, node); ok {
				return p.behaviour
			}
		}
	}
	return normal()
}

// set sets the value of a key.
func (p *part) set(key, value string) (err error) {
	switch key {
	case "check-error":
		p.checkError = value
	case "check-error-after":
		var n times
		if n, err = parseTimes(value); err != nil || n == always {
			err = errors.New("want a number")
		}
		p.checkAfter = int(n)
	case "check-time":
		p.checkTime, err = parseTime(value)
	case "ports-in-use":
		p.portsInUse, err = parsePorts(value)
	case "edited":
		p.edited = parseLines(value)
	case "start-time":
		p.startTime, err = parseTime(value)
	case "silent":
		if p.silent, err = strconv.ParseBool(value); err != nil {
			err = errors.New("want true or false")
		}
	case "fail-starts":
		p.failures, err = parseTimes(value)
	case "crash-after":
		if p.crashes == 0 {
			p.crashes = always
		}
		p.crashAfter, err = parseTime(value)
	case "crashes":
		p.crashes, err = parseTimes(value)
	case "exit":
		p.end, err = parseExit(value)
	case "stdout":
		p.stdout = lines(value)
	case "stderr":
		p.stderr = lines(value)
	case "stop-time":
		p.stopTime, p.stops, err = parseTimeOrNever(value)
	case "answer-time":
		p.answerTime, p.answers, err = parseTimeOrNever(value)
	case "id-values":
		p.values, err = parseValues(value)
	case "packets":
		p.packets, err = parseRate(value)
	case "drops":
		p.drops, err = parseShare(value)
	case "unseen":
		p.unseen = parseLines(value)
	default:
		err = errors.New("no such key")
	}
	return err
}

func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if s != "0" && (err != nil || d < 0) {
		return 0, errors.New("want a time such as 90s, 5m or 1h")
	}
	return d, nil
}

func parseTimeOrNever(s string) (d time.Duration, ever bool, err error) {
	if s == "never" {
		return 0, false, nil
	}
	if d, err = parseTime(s); err != nil {
		err = fmt.Errorf("%w, or never", err)
	}
	return d, true, err
}

func parseTimes(s string) (times, error) {
	if s == "all" {
		return always, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("want a number or all")
	}
	return times(n), nil
}

var signals = map[string]syscall.Signal{
	"SIGABRT": syscall.SIGABRT, "SIGBUS": syscall.SIGBUS, "SIGFPE": syscall.SIGFPE, "SIGILL": syscall.SIGILL,
	"SIGINT": syscall.SIGINT, "SIGKILL": syscall.SIGKILL, "SIGSEGV": syscall.SIGSEGV, "SIGTERM": syscall.SIGTERM,
}

// parseExit returns the error of package os for a process that ends with this exit code or
// signal.
func parseExit(s string) (error, error) {
	if signal, ok := signals[s]; ok {
		return fmt.Errorf("signal: %s", signal), nil
	}
	code, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return nil, fmt.Errorf("want an exit code up to 255 or one of %s", strings.Join(slices.Sorted(maps.Keys(signals)), ", "))
	}
	return exitStatus(code), nil
}

func exitStatus(code uint64) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("exit status %d", code)
}

// lines returns a text with a final newline, as a program writes it. It removes a newline
// between the key and the text.
func lines(text string) string {
	if text = strings.TrimPrefix(text, "\n"); text != "" {
		text += "\n"
	}
	return text
}

// parseLines returns the lines of a text, sorted.
func parseLines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// parsePorts returns the port numbers in the lines of a text, sorted.
func parsePorts(text string) ([]uint16, error) {
	var ports []uint16
	for _, field := range strings.Fields(text) {
		n, err := strconv.ParseUint(field, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%s: want a port number", field)
		}
		ports = append(ports, uint16(n))
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

func parseValues(s string) (map[string]string, error) {
	values := make(map[string]string)
	for line := range strings.Lines(s) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		value = strings.TrimSpace(value)
		if !json.Valid([]byte(value)) {
			return nil, fmt.Errorf("%s: want a name and JSON", name)
		}
		values[name] = value
	}
	return values, nil
}
