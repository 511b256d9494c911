package clientcmd_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/clientcmd"
)

// TestJSONKeysAreDocumented checks that the help of the commands that zeek-client does
// not have lists all keys of their JSON output.
func TestJSONKeysAreDocumented(t *testing.T) {
	help := map[string]string{}
	for _, cmd := range (&clientcmd.Tool{Extended: true}).Commands() {
		help[cmd.Name()] = cmd.Long
	}
	for command, v := range clientcmd.Views {
		var check func(reflect.Type)
		check = func(typ reflect.Type) {
			switch typ.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Map:
				check(typ.Elem())
			case reflect.Struct:
				for f := range typ.Fields() {
					key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
					if key == "" {
						return // a type of another package
					}
					if !regexp.MustCompile(`\b` + key + `\b`).MatchString(help[command]) {
						t.Errorf("the help of %s does not have %q", command, key)
					}
					if !slices.Contains([]string{"last_deployment", "job", "traffic", "connections", "directories"}, key) || command != "status" { // their keys are in the help of other commands
						check(f.Type)
					}
				}
			}
		}
		parts, ok := v.([]any)
		if !ok {
			parts = []any{v}
		}
		for _, part := range parts {
			check(reflect.TypeOf(part))
		}
	}
}
