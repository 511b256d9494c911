package address_test

import (
	"errors"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/address"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		text, host, port string
		want             string // error
	}{
		{text: "", host: "", port: ""},
		{text: "h", host: "h"},
		{text: "h:", host: "h"},
		{text: ":47", port: "47"},
		{text: "h:47", host: "h", port: "47"},
		{text: "10.0.0.1:47", host: "10.0.0.1", port: "47"},
		{text: "[::1]:47", host: "::1", port: "47"},
		{text: "[::1]", host: "::1"},
		{text: "[fe80::1%eth0]:47", host: "fe80::1%eth0", port: "47"},
		{text: "fe80::1%eth0", host: "fe80::1%eth0"},
		{text: "::1", host: "::1"},
		{text: "2001:db8::f", host: "2001:db8::f"},
		{text: "2001:db8::f:47", want: "IPv6 addresses must be surrounded by brackets: [2001:db8::f]:47, or [2001:db8::f:47]"},
		{text: "1:2:3:4:5:6:7:8:47", want: "IPv6 addresses must be surrounded by brackets: [1:2:3:4:5:6:7:8]:47"},
		{text: "a:b:c", want: "IPv6 addresses must be surrounded by brackets: [<ipv6>]:<port>"},
		{text: "h:http", want: `port "http" is not in 0..65535`},
		{text: "h:70000", want: `port "70000" is not in 0..65535`},
		{text: "h:-1", want: `port "-1" is not in 0..65535`},
		{text: "http://h:47", want: "want HOST:PORT and no URL, here h:47"},
		{text: "WS://h:47/v1/messages/json", want: "want HOST:PORT and no URL, here h:47"},
		{text: "wss://user:secret@[::1]:47", want: "want HOST:PORT and no URL, here [::1]:47"},
		{text: "https://h", want: "want HOST:PORT and no URL, here h"},
		{text: "http://", want: "want HOST:PORT and no URL, here HOST:PORT"},
		{text: "h/x:47", want: `host "h/x" contains "/", want HOST:PORT`},
		{text: "u@h:47", want: `host "u@h" contains "@", want HOST:PORT`},
		{text: "h 47", want: `host "h 47" contains " ", want HOST:PORT`},
		{text: "[::1", want: "IPv6 addresses must be surrounded by brackets: [<ipv6>]:<port>"},
		{text: "[::1]47", want: `host "[::1]47" contains "[", want HOST:PORT`},
	} {
		host, port, err := address.Split(tt.text)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if host != tt.host || port != tt.port || got != tt.want {
			t.Errorf("Split(%q) = %q, %q, %v", tt.text, host, port, err)
		}
	}
}

func TestSplitBoth(t *testing.T) {
	for text, want := range map[string]string{
		"h:1": "", "h": "want HOST:PORT, such as h:9999", "::1": "want HOST:PORT, such as [::1]:9999", "": "want HOST:PORT",
		"http://h:1": "want HOST:PORT and no URL, here h:1",
	} {
		if _, _, err := address.SplitBoth(text, "9999"); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("SplitBoth(%q): %v, want %q", text, err, want)
		}
	}
}

func TestJoin(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "zeek": "zeek:9999", "zeek:1234": "zeek:1234", "10.0.0.1": "10.0.0.1:9999", ":1": ":1",
		"::1": "[::1]:9999", "[::1]:1234": "[::1]:1234", "127.0.0.1:0": "127.0.0.1:0",
	} {
		if got, err := address.Join(text, "9999"); got != want || err != nil {
			t.Errorf("Join(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	_, err := address.Join("wss://h:1", "9999")
	if e := (*address.URLError)(nil); !errors.As(err, &e) || !e.Secure() {
		t.Errorf("%v, want a URLError about TLS", err)
	}
}
