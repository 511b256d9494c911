package launch

import (
	"context"
	"errors"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/dirlock"
)

func TestOwn(t *testing.T) {
	dir := t.TempDir()
	ended, end := context.WithCancel(t.Context())
	end()
	refused := func(instance, want string) {
		t.Helper()
		if _, err := Own(ended, dir, instance); !errors.Is(err, dirlock.ErrInUse) || err.Error() != want {
			t.Errorf("Own(%q): %v, want %s", instance, err, want)
		}
	}
	one, err := Own(ended, dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := Own(ended, dir, "two")
	if err != nil {
		t.Fatal(err)
	}
	if !one.Owns("one") || one.Owns("two") || one.Owns("") {
		t.Error("one owns the wrong nodes")
	}
	if !one.Present("two") || one.Present("one") || one.Present("three") || one.Present("") {
		t.Error("one sees the wrong owners")
	}
	refused("one", "state directory "+dir+` is in use by another agent with the name "one"; use another name or state-dir`)
	refused("", "state directory "+dir+" is in use by another agent")
	two.Close()
	if one.Present("two") {
		t.Error("two is still present")
	}
	one.Close()

	all, err := Own(ended, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	if !all.Owns("one") || !all.Owns("") || all.Present("one") {
		t.Error("the only owner does not own all nodes")
	}
	refused("one", "state directory "+dir+" is in use by another agent, which does not share it; use another state-dir")
}
