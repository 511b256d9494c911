package clusterfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/zeekapi/clusterfile"
	"github.com/zeekwire/zeekwire/zeekapi/clusterfile/configparser"
)

// extended are options under which short forms are read. It knows one host.
var extended = clusterfile.Options{Hostname: "h", Extended: true, Resolve: func(host string) ([]netip.Addr, error) {
	if host != "hub.example.org" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
}}

func TestExpand(t *testing.T) { compareFiles(t, "short", expansionOf) }

// expansionOf returns the result of parsing a file as text. It parses the expansion, which
// must be the same configuration.
func expansionOf(t *testing.T, name string, text []byte) string {
	var b strings.Builder
	c, warnings, err := clusterfile.Parse(name, bytes.NewReader(text), extended)
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	var errs configparser.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			fmt.Fprintf(&b, "error: %v\n", e)
		}
		return b.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	ini, err := clusterfile.INI(c)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := clusterfile.Parse("expansion", bytes.NewReader(ini), extended)
	if err != nil {
		t.Fatalf("%v\n%s", err, ini)
	}
	c.ID, again.ID = "ID", "ID"
	before, errBefore := clusterfile.JSON(c)
	after, errAfter := clusterfile.JSON(again)
	if diff := cmp.Diff(string(before), string(after)); diff != "" || errBefore != nil || errAfter != nil {
		t.Errorf("the expansion is another configuration: %v, %v, (-before +after)\n%s", errBefore, errAfter, diff)
	}
	b.Write(ini)
	return b.String()
}
