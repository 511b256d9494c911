package apicheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Compare returns the differences between a dialect and the declarations in
// scripts, one sentence each. An event that the scripts declare in one of the
// dialect's modules, but that the dialect does not contain, is also a
// difference, unless ignore contains its name.
func Compare(d *zeekapi.Dialect, api *API, ignore ...string) (differences []string) {
	report := func(format string, args ...any) {
		differences = append(differences, fmt.Sprintf(format, args...))
	}
	ours := make(map[string]bool)
	modules := make(map[string]bool)
	for _, decl := range d.Declarations() {
		ours[decl.Event] = true
		modules[module(decl.Event)] = true
		theirs, ok := api.Events[decl.Event]
		if !ok {
			report("event %s: not in the scripts", decl.Event)
			continue
		}
		compareFields("event "+decl.Event, decl.Args(), theirs, report)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Records)) {
		theirs, ok := api.Records[name]
		if !ok {
			report("record %s: not in the scripts", name)
			continue
		}
		compareType("record "+name, d.Records[name], theirs, report)
	}
	for _, name := range slices.Sorted(maps.Keys(api.Events)) {
		if modules[module(name)] && !ours[name] && !slices.Contains(ignore, name) {
			report("event %s: not in dialect %s", name, d.Name)
		}
	}
	return differences
}

func module(event string) string {
	i := strings.LastIndex(event, "::")
	return event[:max(i, 0)]
}

type reporter func(format string, args ...any)

func compareFields(path string, ours, theirs []record.Field, report reporter) {
	for i := range max(len(ours), len(theirs)) {
		switch {
		case i >= len(theirs):
			if !ours[i].Trailing {
				report("%s: field %d, %s, is not in the scripts", path, i+1, ours[i].Name)
			}
		case i >= len(ours):
			report("%s: field %d, %s, is only in the scripts", path, i+1, theirs[i].Name)
		case ours[i].Name != theirs[i].Name:
			report("%s: field %d is %s, in the scripts %s", path, i+1, ours[i].Name, theirs[i].Name)
		default:
			at := path + "." + ours[i].Name
			if ours[i].Optional != theirs[i].Optional {
				report("%s: optional is %t, in the scripts %t", at, ours[i].Optional, theirs[i].Optional)
			}
			compareType(at, ours[i].Type, theirs[i].Type, report)
		}
	}
}

func compareType(path string, ours, theirs record.Type, report reporter) {
	if ours.Kind != theirs.Kind {
		report("%s: is %s, in the scripts %s", path, ours.Kind, theirs.Kind)
		return
	}
	if ours.Module != theirs.Module {
		report("%s: enum of module %s, in the scripts of %s", path, ours.Module, theirs.Module)
	}
	compareFields(path, ours.Fields, theirs.Fields, report)
	compareInner(path+"[index]", ours.Index, theirs.Index, report)
	compareInner(path+"[]", ours.Element, theirs.Element, report)
}

func compareInner(path string, ours, theirs *record.Type, report reporter) {
	switch {
	case ours != nil && theirs != nil:
		compareType(path, *ours, *theirs, report)
	case ours != nil || theirs != nil:
		report("%s: only on one side", path)
	}
}
