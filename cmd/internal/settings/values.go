package settings

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker"
)

// Value stores the value of a setting. Set accepts every text that String
// returns; if it fails, it does not change the value.
type Value interface {
	Set(string) error
	String() string
}

// Parsed returns a value stored in p, converted by parse and format.
func Parsed[T any](p *T, parse func(string) (T, error), format func(T) string) Value {
	return &parsed[T]{p, parse, format}
}

type parsed[T any] struct {
	p      *T
	parse  func(string) (T, error)
	format func(T) string
}

func (v *parsed[T]) String() string { return v.format(*v.p) }

func (v *parsed[T]) Set(text string) error {
	x, err := v.parse(text)
	if err == nil {
		*v.p = x
	}
	return err
}

func same(s string) string { return s }

// Text returns a value that accepts any text.
func Text(p *string) Value {
	return Parsed(p, func(s string) (string, error) { return s, nil }, same)
}

// choice has its own type so that shells can complete its words.
type choice struct {
	Value
	words []string
}

// Choice returns a value that accepts one of the words.
func Choice(p *string, words ...string) Value {
	return choice{words: words, Value: Parsed(p, func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		last := len(words) - 1
		return "", fmt.Errorf("want %s or %s", strings.Join(words[:last], ", "), words[last])
	}, same)}
}

// boolean has its own type so that its flag needs no argument.
type boolean struct{ Value }

// Bool returns a value that accepts booleans: true, T, yes, on, 1 and their
// opposites.
func Bool(p *bool) Value {
	return boolean{Parsed(p, func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true", "t", "yes", "on", "1":
			return true, nil
		case "false", "f", "no", "off", "0":
			return false, nil
		}
		return false, errors.New("want true or false")
	}, strconv.FormatBool)}
}

// Count returns a value that accepts an integer from least to most.
func Count(p *int, least, most int) Value {
	return Parsed(p, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("want an integer from %d to %d", least, most)
		}
		return n, nil
	}, strconv.Itoa)
}

// Duration returns a value that accepts a duration of at least least, such as 90s
// or 1h30m.
func Duration(p *time.Duration, least time.Duration) Value {
	return Parsed(p, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case s == "0":
		case err != nil:
			return 0, errors.New("want a time such as 90s, 5m or 1h")
		}
		if d < least {
			return 0, fmt.Errorf("want at least %s", least)
		}
		return d, nil
	}, time.Duration.String)
}

// Seconds converts a number of seconds, as in variables of Zeek, to the text of a
// Duration.
func Seconds(s string) (string, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= math.MaxInt32) {
		return "", errors.New("want a number of seconds")
	}
	return time.Duration(f * float64(time.Second)).String(), nil
}

// Port returns a value that accepts a TCP port as in Zeek, 2150/tcp, or just the
// number. 0/tcp means any free port; 0/unknown or none means no port, the zero
// broker.Port.
func Port(p *broker.Port) Value { return Parsed(p, ParsePort, portText) }

// OptionalPort is like Port, and stores nil for an empty text.
func OptionalPort(p **broker.Port) Value {
	return Parsed(p, func(s string) (*broker.Port, error) {
		if s == "" {
			return nil, nil
		}
		port, err := ParsePort(s)
		return &port, err
	}, func(p *broker.Port) string {
		if p == nil {
			return ""
		}
		return portText(*p)
	})
}

// ParsePort parses the text of a Port.
func ParsePort(s string) (broker.Port, error) {
	if s == None || s == "0/unknown" {
		return broker.Port{}, nil
	}
	number, protocol, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || ok && protocol != "tcp" {
		return broker.Port{}, errors.New("want a port such as 2150/tcp, or none")
	}
	return broker.TCP(uint16(n)), nil
}

func portText(p broker.Port) string {
	if p == (broker.Port{}) {
		return None
	}
	return p.String()
}

// None is the text that stands for no address or port.
const None = "none"
