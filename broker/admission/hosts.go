package admission

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
)

// Hosts are the names by which web pages may reach a server. The zero Hosts
// contains IP addresses, localhost, and the name of this host.
//
// A page of any site can make its name resolve to the address of a server (DNS
// rebinding), so it does not suffice that a page comes from the host that the
// request names. A page cannot do that with an address, so addresses are always
// accepted.
type Hosts struct {
	// Names are further names, or patterns as in path.Match, such as
	// *.example.com. The pattern * accepts every name.
	Names []string

	// More, if non-nil, returns further names.
	More func() []string
}

// CheckNames returns an error if a pattern is invalid.
func CheckNames(patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, "/ \t") || p == "" {
			return fmt.Errorf("%q is not a host name or a pattern such as *.example.com", p)
		}
	}
	return nil
}

// PageError means that a request comes from a web page that may not make it.
type PageError struct {
	Origin string // of the page; may be empty
	Host   string // that the request names

	// Foreign means that the page comes from another host. Otherwise, the host
	// is not among the names of the server.
	Foreign bool
}

// Error implements the error interface.
func (e *PageError) Error() string {
	if e.Foreign {
		return fmt.Sprintf("a web page of %q may not connect to %q", e.Origin, e.Host)
	}
	return fmt.Sprintf("web pages may not reach this server as %q: use its address, or add the name to its allowed hosts (allowed-hosts)", e.Host)
}

// CheckUpgrade returns a *PageError if the request is an upgrade to WebSockets that
// a web page must not make.
//
// A browser names the page of every upgrade in the header Origin, and does not let
// pages change it. So a request without it is accepted whatever host it names. Some
// programs send the header, too, with the host to which they connect: zeek-client,
// and those that use IXWebSocket. They are told apart from browsers, and need not
// use one of the names.
func (h *Hosts) CheckUpgrade(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
		return &PageError{Origin: origin, Host: r.Host, Foreign: true}
	}
	if fromBrowser(r) && !h.contains(r.Host) {
		return &PageError{Origin: origin, Host: r.Host}
	}
	return nil
}

// CheckRead returns a *PageError if the request comes from a browser and names a
// host that is not one of the names. Requests of programs are accepted whatever
// host they name.
func (h *Hosts) CheckRead(r *http.Request) error {
	if fromBrowser(r) && !h.contains(r.Host) {
		return &PageError{Origin: r.Header.Get("Origin"), Host: r.Host}
	}
	return nil
}

// fromBrowser reports whether a browser may have sent the request. All browsers
// send each of these headers except Sec-Fetch-Site, which newer ones send over TLS,
// and Accept-Language, which Safari does not send with upgrades. A page can change
// User-Agent in requests that are no upgrades, but cannot remove Accept-Language.
func fromBrowser(r *http.Request) bool {
	agent := r.Header.Get("User-Agent")
	return strings.HasPrefix(agent, "Mozilla/") || strings.HasPrefix(agent, "Opera/") ||
		r.Header["Accept-Language"] != nil || r.Header["Sec-Fetch-Site"] != nil
}

// contains reports whether the host of a header Host, with or without a port, is
// one of the names.
func (h *Hosts) contains(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	names := h.Names
	if own, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(own, ".")
		names = append(names[:len(names):len(names)], own, short)
	}
	if h.More != nil {
		names = append(names[:len(names):len(names)], h.More()...)
	}
	for _, name := range names {
		if ok, err := path.Match(strings.ToLower(name), host); ok && err == nil {
			return true
		}
	}
	return false
}
