package zeekapi_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

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

func TestCPUsOfNodes(t *testing.T) {
	for _, tt := range []struct {
		cpus []int64
		want string
	}{{nil, ""}, {[]int64{3}, "3"}, {[]int64{8, 2, 0, 1, 2}, "0-2,8"}} {
		n := zeekapi.Node{Options: []zeekapi.Option{{Name: "group", Value: "g"}}}
		n.SetCPUs([]int64{7, 9})
		n.SetCPUs(tt.cpus)
		if got := n.Affinity(); got != tt.want || n.Groups()[0] != "g" || (n.CPUAffinity != nil) != (len(tt.cpus) == 1) {
			t.Errorf("%v: %q, %+v", tt.cpus, got, n)
		}
		if err := zeekapi.CheckCPUs(n); err != nil {
			t.Error(err)
		}
	}
	three := int64(3)
	for _, value := range []string{"", "4-", "-1", "1-3:0", "3-1", "0-8192", "1,,2", "(1)"} {
		n := zeekapi.Node{Name: "n", CPUAffinity: &three, Options: []zeekapi.Option{{Name: zeekapi.OptionCPUAffinity, Value: value}}}
		if _, err := n.CPUs(); err == nil || n.Affinity() != value || zeekapi.CheckCPUs(n) == nil {
			t.Errorf("%q: %v, %q", value, err, n.Affinity())
		}
	}
	minus := int64(-1)
	if err := zeekapi.CheckCPUs(zeekapi.Node{CPUAffinity: &minus}); err == nil {
		t.Error("accepts the CPU -1")
	}
}

// A formatted list has the CPUs of the original, in their order.
func TestFormatCPUs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cpus := rapid.SliceOfN(rapid.Int64Range(0, 9), 1, 12).Draw(t, "cpus")
		got, err := zeekapi.ParseCPUs(zeekapi.FormatCPUs(cpus))
		if err != nil || !slices.Equal(got, cpus) {
			t.Fatalf("%v: %s: %v, %v", cpus, zeekapi.FormatCPUs(cpus), got, err)
		}
	})
}
