package clusterfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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

// TestExpand compares the expansions of files with those beside them.
func TestExpand(t *testing.T) {
	files, err := filepath.Glob("../../testdata/clusters/short/*.cfg")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".cfg"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := expansionOf(t, name, text)
			wantPath := strings.TrimSuffix(path, ".cfg") + ".want"
			if *update {
				if err := os.WriteFile(wantPath, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantPath)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

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
