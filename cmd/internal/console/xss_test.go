package console

import (
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
)

// evil is what an attacker puts into everything that a peer can name. It breaks out of
// texts, attributes with and without quotes, scripts and addresses.
const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>javascript:alert(1)</textarea></title>`

// poison puts evil into all strings of a value, except those of enumerations.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		poison(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Now()))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poison(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(evil), reflect.ValueOf(evil))
	case reflect.String:
		switch v.Type() {
		case reflect.TypeFor[zeekapi.State]():
			v.SetString(string(zeekapi.StateCrashed))
		case reflect.TypeFor[zeekapi.ClusterRole]():
			v.SetString(string(zeekapi.RoleWorker))
		case reflect.TypeFor[zeekapi.ManagementRole]():
			v.SetString(string(zeekapi.ManagementNone))
		default:
			v.SetString(evil)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint64, reflect.Uint16:
		v.SetUint(7)
	case reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	}
}

// poisoned returns a value with evil in all its strings.
func poisoned[T any]() (v T) {
	poison(reflect.ValueOf(&v).Elem())
	return v
}

// respond makes a controller respond with a poisoned value.
func respond[T any, Q, A zeekapi.Message](l *lab, call zeekapi.Call[Q, A], change func(*T)) {
	fake.Handle(l.controller, call, func(context.Context, Q) ([]zeekapi.Result, error) {
		v := poisoned[T]()
		change(&v)
		return fake.Success(v), nil
	})
}

// none changes nothing.
func none[T any](*T) {}

// TestStringsOfPeersAreTexts puts markup into every string that a peer controls, and looks for
// it on all pages.
func TestStringsOfPeersAreTexts(t *testing.T) {
	l := sample(t, access.Full)
	var standsBy atomic.Bool
	respond(l, zeekapi.StatusCall, func(s *zeekapi.Status) {
		if !standsBy.Load() {
			s.AsOf = time.Time{}
		}
		s.Target = evil
		for k := range s.Instances {
			s.Instances[k].Drained, s.Instances[k].Connected = false, false
			s.Instances[k].Nodes[0].StoppedBy = ""
		}
		s.Job.Ended = time.Time{}
	})
	respond(l, zeekapi.EventsCall, func(all *[]zeekapi.ClusterEvent) { (*all)[0].Number = 70_000 })
	respond(l, zeekapi.HistoryCall, none[[]zeekapi.Deployment])
	respond(l, zeekapi.GetPastCall, none[zeekapi.Configuration])
	respond(l, zeekapi.GetConfigurationCall, none[zeekapi.Configuration])
	respond(l, zeekapi.DryRunCall, none[zeekapi.Diff])
	respond(l, zeekapi.LogsCall, none[zeekapi.NodeLogs])
	respond(l, zeekapi.DiagnoseCall, none[zeekapi.Diagnosis])
	respond(l, zeekapi.FiguresCall, none[zeekapi.Figures])
	fake.Handle(l.controller, zeekapi.GetIDValueCall, func(context.Context, zeekapi.GetIDValueRequest) ([]zeekapi.Result, error) {
		return []zeekapi.Result{{Node: evil, Error: evil}}, nil
	})
	bad := func() []zeekapi.Result {
		r := fake.Success(poisoned[zeekapi.NodeOutputs]())[0]
		r.Success, r.Node, r.Instance, r.Error = false, evil, evil, evil
		return []zeekapi.Result{r, {Error: evil}, {Error: evil, Instance: evil}}
	}
	fake.Handle(l.controller, zeekapi.CheckCall, func(context.Context, zeekapi.CheckRequest) ([]zeekapi.Result, error) { return bad(), nil })
	fake.Handle(l.controller, zeekapi.RollbackCall, func(context.Context, zeekapi.RollbackRequest) ([]zeekapi.Result, error) { return bad(), nil })
	fake.Handle(l.controller, zeekapi.RestartCall, func(context.Context, zeekapi.RestartRequest) ([]zeekapi.Result, error) { return bad(), nil })
	l.await(func(s snapshot) bool { return s.Status.Target == evil && len(s.Events) > 0 })

	name := url.PathEscape(evil)
	query := url.QueryEscape(evil)
	pages := []string{
		"/", "/?q=" + query, "/?show=" + query, "/topology?q=" + query, "/topology", "/machines/" + name, "/nodes/" + name, "/nodes/" + name + "?value=" + query,
		"/events", "/events?q=" + query, "/events?kind=" + query, "/events/70000", "/history", "/history/7", "/rollback/7", "/deploy", "/deploy?from=7", "/access",
		"/operate", "/operate?do=" + query, "/operate?do=stop", "/operate?do=stop&nodes=" + query, "/operate?do=rolling-restart&at=" + query, "/rolling-restart/7", "/rolling-restart/" + name, "/controllers",
		"/login?next=" + query, "/nothing/" + name, "/nodes/unknown" + name, "/operations/" + name, "/history/" + name,
	}
	seen := 0
	check := func(path, body string) {
		seen += strings.Count(body, "alert(1)")
		for _, markup := range []string{"<script>alert", "<img src=x", `onerror=alert(1)"`, `href="javascript`, "</textarea></title>"} {
			if strings.Contains(body, markup) {
				t.Errorf("%s has %s", path, markup)
			}
		}
	}
	for _, path := range pages {
		_, body := l.request("GET", path, nil)
		check(path, body)
	}
	for _, path := range []string{"/", "/nodes/" + name} {
		_, data := l.follow(path).next()
		_, main, _ := strings.Cut(data, "\n") // after the title, which is a text
		check(path+" as a stream", main)
	}
	for _, op := range []struct {
		path string
		form url.Values
	}{
		{"/deploy", url.Values{"name": {evil}, "text": {clusterText("# " + evil + "\n")}}},
		{"/deploy", url.Values{"name": {evil}, "text": {evil + "\n[" + evil + "]\nrole = " + evil + "\n"}}},
		{"/rollback/7", nil}, {"/nodes/" + name + "/restart", nil},
	} {
		next := l.post(op.path, op.form)
		check(op.path, l.operation(next))
		_, body := l.request("GET", "/deploy?operation="+strings.TrimPrefix(next, "/operations/"), nil)
		check(op.path+", edited", body)
	}
	standsBy.Store(true)
	l.await(func(s snapshot) bool { return !s.Status.AsOf.IsZero() })
	for _, path := range pages {
		_, body := l.request("GET", path, nil)
		check(path+" of a controller that stands by", body)
	}
	if seen < 100 {
		t.Errorf("the pages have only %d of the attacker's strings", seen)
	}
	t.Log(fmt.Sprint(seen, " strings"))
}
