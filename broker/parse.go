package broker

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// ParseValue parses text as a value of a scalar kind. It is the inverse of
// Value.String, except that strings are not quoted. It also accepts "true" and
// "false" for booleans, time zone offsets in timestamps, and empty text for
// none. Host bits of a subnet are cleared.
//
// Containers are errors: their text does not determine the kinds of their
// elements.
func ParseValue(kind Kind, text string) (Value, error) {
	if kind == KindPort {
		p, err := ParsePort(text)
		if err != nil {
			return Value{}, err
		}
		return PortValue(p), nil
	}
	v, err := parseScalar(kind, text)
	if err != nil {
		var number *strconv.NumError
		if errors.As(err, &number) {
			err = number.Err // omit the name of the strconv function
		}
		return Value{}, fmt.Errorf("broker: %q is not a valid %s: %w", text, kind, err)
	}
	return v, nil
}

func parseScalar(kind Kind, text string) (Value, error) {
	switch kind {
	case KindNone:
		if text != "" && text != "nil" {
			return Value{}, errors.New("want empty text or nil")
		}
		return None(), nil
	case KindBoolean:
		switch text {
		case "T", "true":
			return Boolean(true), nil
		case "F", "false":
			return Boolean(false), nil
		}
		return Value{}, errors.New("want T or F")
	case KindCount:
		n, err := strconv.ParseUint(text, 10, 64)
		return Count(n), err
	case KindInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		return Integer(n), err
	case KindReal:
		f, err := strconv.ParseFloat(text, 64)
		return Real(f), err
	case KindString:
		return String(text), nil
	case KindEnum:
		if text == "" {
			return Value{}, errors.New("want a label, as in Conn::LOG")
		}
		return Enum(text), nil
	case KindAddress:
		a, err := netip.ParseAddr(text)
		if err == nil && a.Zone() != "" {
			err = errors.New("addresses of Broker have no zone")
		}
		return Address(a), err
	case KindSubnet:
		p, err := netip.ParsePrefix(text)
		return Subnet(p), err
	case KindTimestamp:
		return parseTimestamp(text)
	case KindTimespan:
		d, err := time.ParseDuration(text)
		if err != nil {
			return Value{}, errors.New("want a number with a unit of ns, us, ms, s, m or h, as in 90s")
		}
		return Timespan(d), nil
	}
	return Value{}, errors.New("containers have no text form")
}

func parseTimestamp(text string) (Value, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil:
		return Value{}, errors.New("want a time as in 2026-11-22T10:00:00Z")
	case t.Before(time.Unix(0, math.MinInt64)), t.After(time.Unix(0, math.MaxInt64)):
		return Value{}, errors.New("want a year from 1677 to 2262")
	}
	return Timestamp(t), nil
}
