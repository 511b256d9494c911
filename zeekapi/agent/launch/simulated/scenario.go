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

// Scenario says what nodes are like. A nil Scenario is that of nodes that do
// as they are told, at once. It is safe for concurrent use.
type Scenario struct {
	parts []part // the first that matches counts
}

type part struct {
	pattern string
	behaviour
}

// behaviour describes a node, for all its starts.
type behaviour struct {
	checkError string
	startTime  time.Duration
	silent     bool  // never says hello
	failures   times // starts that fail
	crashes    times // lives that end by themselves, crashAfter the hello
	crashAfter time.Duration
	end        error // of what did not end because it was told to; nil for exit code 0
	stdout     string
	stderr     string
	stopTime   time.Duration
	stops      bool // when it is told to
	answerTime time.Duration
	answers    bool
	values     map[string]string // of globals, as JSON
}

// times counts what happens often or always.
type times int

const always times = -1

// covers reports whether it still happens after it happened n times.
func (t times) covers(n int) bool { return t == always || n < int(t) }

func obedient() behaviour {
	return behaviour{stops: true, answers: true, end: exitStatus(1)}
}

// ParseScenario reads a scenario, from a file of the given name for errors. It
// is an INI file like those of clusters. A section has the names of nodes that
// it is about for its name, with the wildcards * ? and [a-z]; of several that
// match a node the first counts. What stands in [DEFAULT] holds in all
// sections. The keys, all of them optional:
//
//	check-error = TEXT   the node fails the agent's checks
//	start-time = TIME    from its start to its hello, 0
//	silent = true        it never says hello
//	fail-starts = N      so many starts fail, or all
//	crash-after = TIME   it ends by itself so long after its hello
//	crashes = N          so often, or all, which is the default
//	exit = CODE          its exit code then, 1, or a signal such as SIGSEGV
//	stdout = TEXT        what it writes, over as many lines as it takes
//	stderr = TEXT
//	stop-time = TIME     from being told to end to its end, or never
//	answer-time = TIME   until it answers, or never
//	id-values = NAME JSON
//	                     the values of globals, one to a line
//
// An error about the content is of type configparser.Errors and says
// everything that is wrong.
func ParseScenario(name string, r io.Reader) (*Scenario, error) {
	file, err := configparser.ReadRaw(name, r)
	var errs configparser.Errors
	if err != nil && (file == nil || !errors.As(err, &errs)) {
		return nil, err
	}
	s := new(Scenario)
	reported := make(map[int]bool) // an error in [DEFAULT] appears in all sections
	for _, section := range file.Sections {
		p := part{section.Name, obedient()}
		if _, err := path.Match(section.Name, ""); err != nil {
			errs.Add(&configparser.Error{File: name, Line: section.Line, Section: section.Name, Text: fmt.Sprintf("[%s] is no pattern for names", section.Name)})
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
	return obedient()
}

// set gives a key its value.
func (p *part) set(key, value string) (err error) {
	switch key {
	case "check-error":
		p.checkError = value
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

// parseExit returns what package os would say of the end of such a process.
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

// lines is a text as a program writes it. One that begins on the line after
// its key begins there.
func lines(text string) string {
	if text = strings.TrimPrefix(text, "\n"); text != "" {
		text += "\n"
	}
	return text
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
