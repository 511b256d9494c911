package zeekapi_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi"
)

func TestCheckScript(t *testing.T) {
	for word, valid := range map[string]bool{
		"local": true, "site/local.zeek": true, "AF_Packet::fanout_id=24": true, "A::b::c=": true, "x=1": true,
		"": false, "-C": false, "--test": false, "Some::Plugin": false, "::x=1": false, "a/b::c=1": false,
	} {
		if err := zeekapi.CheckScript(word); (err == nil) != valid {
			t.Errorf("%q: %v", word, err)
		}
	}
}

func TestNetworkInterface(t *testing.T) {
	for source, want := range map[string]string{
		"": "", "eth0": "eth0", "pcap::eth0": "eth0", "af_packet::eth0": "eth0", "napatech::3 x": "", "any": "", "zc:eth0@1": "",
		"enp0s31f6.12345": "enp0s31f6.12345",
	} {
		if got, err := zeekapi.NetworkInterface(source); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", source, got, err, want)
		}
	}
	for _, source := range []string{"af_packet::", "eth0 # the tap", "eth0\neth1", "a/b", "af_packet::enp0s31f6.123456", ".."} {
		if got, err := zeekapi.NetworkInterface(source); err == nil {
			t.Errorf("%q: %q, want an error", source, got)
		}
	}
}

func TestCheckCPU(t *testing.T) {
	if zeekapi.CheckCPU(0) != nil || zeekapi.CheckCPU(-1) == nil {
		t.Error("wrong result")
	}
}
