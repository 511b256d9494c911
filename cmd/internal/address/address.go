// Package address parses the addresses that users write in flags and settings. Its
// errors show the right form of what was probably meant.
package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Split splits HOST:PORT, either of which may be missing. The host is returned without
// brackets. IPv6 addresses without brackets are accepted unless their end may be meant
// as a port. The port is "" or a number from 0 to 65535.
func Split(text string) (host, port string, err error) {
	if scheme, rest, isURL := strings.Cut(text, "://"); isURL {
		return "", "", &URLError{Scheme: strings.ToLower(scheme), Host: hostOf(text, rest)}
	}
	host, port = cut(text)
	if strings.Contains(host, ":") && !bracketed(text) {
		if _, err := netip.ParseAddr(text); err != nil || isIPv6(host) {
			return "", "", ambiguous(text, host, port)
		}
		host, port = text, ""
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil && port != "" {
		return "", "", fmt.Errorf("port %q is not in 0..65535", port)
	}
	if i := strings.IndexAny(host, "/@[] \t\r\n"); i >= 0 {
		return "", "", fmt.Errorf("host %q contains %q, want HOST:PORT", host, host[i:i+1])
	}
	return host, port, nil
}

// SplitBoth is like Split, but the port must not be missing. The error has the given
// port as an example.
func SplitBoth(text, example string) (host, port string, err error) {
	host, port, err = Split(text)
	if err == nil && port == "" {
		err = errors.New("want HOST:PORT")
		if host != "" {
			err = fmt.Errorf("want HOST:PORT, such as %s", net.JoinHostPort(host, example))
		}
	}
	return host, port, err
}

// Join returns HOST:PORT for a text that may lack the port. The empty text stays empty.
func Join(text, port string) (string, error) {
	if text == "" {
		return "", nil
	}
	host, own, err := Split(text)
	if err != nil {
		return "", err
	}
	if own != "" {
		port = own
	}
	return net.JoinHostPort(host, port), nil
}

// URLError means that an address is a URL.
type URLError struct {
	Scheme string // in lower case
	Host   string // host, and the port if the URL has one
}

// Error shows the form without a scheme.
func (e *URLError) Error() string { return "want HOST:PORT and no URL, here " + e.Host }

// Secure reports whether the URL is of a protocol over TLS.
func (e *URLError) Secure() bool { return e.Scheme == "wss" || e.Scheme == "https" }

// hostOf returns the host and the port of a URL, which has a rest after its scheme.
func hostOf(text, rest string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	if host, _, _ := strings.Cut(rest, "/"); host != "" {
		return host
	}
	return "HOST:PORT"
}

// cut splits a text at its last colon, unless that is in brackets.
func cut(text string) (host, port string) {
	host = text
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return host, port
}

// bracketed reports whether a text begins with an address in brackets.
func bracketed(text string) bool {
	return strings.HasPrefix(text, "[") && strings.LastIndexByte(text, ']') > 0
}

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// ambiguous returns the error for a text with several colons but no brackets.
func ambiguous(text, host, port string) error {
	var forms []string
	if isIPv6(host) && port != "" {
		forms = append(forms, net.JoinHostPort(host, port))
	}
	if isIPv6(text) {
		forms = append(forms, "["+text+"]")
	}
	if forms == nil {
		forms = []string{"[<ipv6>]:<port>"}
	}
	return errors.New("IPv6 addresses must be surrounded by brackets: " + strings.Join(forms, ", or "))
}
