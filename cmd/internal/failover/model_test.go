package failover

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// register is a part of the state of the controllers that an operation writes or reads.
type register string

// The registers hold IDs of configurations.
const (
	staged register = "staged" // the configuration that was uploaded last
	target register = "target" // the configuration that should run
)

// operation is what a client did, for the check of the history.
type operation struct {
	register register
	write    string // "" for a read
}

// outcome of an operation: the value that was read, or whether a write is known to have
// happened.
type outcome struct {
	read    string
	unknown bool // it has happened, will happen until the end of the round, or will not
}

// history records the operations of a round. It is used with a lock of the workload.
type history struct {
	begin      time.Time
	initial    map[register]string
	operations []porcupine.Operation
}

// unending is the end of operations whose outcome is unknown.
const unending = math.MaxInt64

func (h *history) add(client int, op operation, call, end time.Time, o outcome) {
	returned := end.Sub(h.begin).Nanoseconds()
	if o.unknown {
		returned = unending
	}
	h.operations = append(h.operations, porcupine.Operation{
		ClientId: client, Input: op, Call: call.Sub(h.begin).Nanoseconds(), Output: o, Return: returned,
	})
}

// model is a set of registers. A write that is not known to have happened may take effect
// at any time after its call.
func (h *history) model() porcupine.Model {
	type state struct {
		register register // "" before the first operation
		value    string
	}
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			parts := make(map[register][]porcupine.Operation)
			for _, o := range all {
				r := o.Input.(operation).register
				parts[r] = append(parts[r], o)
			}
			return [][]porcupine.Operation{parts[staged], parts[target]}
		},
		Init: func() any { return state{} },
		Step: func(s, input, output any) (bool, any) {
			now, op := s.(state), input.(operation)
			if now.register == "" {
				now = state{op.register, h.initial[op.register]}
			}
			if op.write != "" {
				return true, state{op.register, op.write}
			}
			return output.(outcome).read == now.value, now
		},
		DescribeOperation: func(input, output any) string {
			op, o := input.(operation), output.(outcome)
			switch {
			case op.write == "":
				return fmt.Sprintf("%s is %q", op.register, o.read)
			case o.unknown:
				return fmt.Sprintf("%s = %q?", op.register, op.write)
			}
			return fmt.Sprintf("%s = %q", op.register, op.write)
		},
	}
}

// checkTime limits the check of a history. A history that cannot be checked in that time
// is not counted as checked.
const checkTime = time.Minute

// check reports whether the history is linearizable: whether there is an order of all
// operations in which each read returns the last write before it.
func (h *history) check() (porcupine.CheckResult, porcupine.LinearizationInfo) {
	return porcupine.CheckOperationsVerbose(h.model(), h.relevant(), checkTime)
}

// relevant returns the operations, except writes with an unknown outcome whose values no
// client has read: these may not have happened. With many of them, the check would take too
// long.
func (h *history) relevant() []porcupine.Operation {
	seen := make(map[string]bool)
	for _, o := range h.operations {
		if op := o.Input.(operation); op.write == "" {
			seen[o.Output.(outcome).read] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(h.operations), func(o porcupine.Operation) bool {
		return o.Output.(outcome).unknown && !seen[o.Input.(operation).write]
	})
}

// explain describes why a history is not linearizable: the end of the longest order that
// is possible, and what happened next.
func (h *history) explain(info porcupine.LinearizationInfo) string {
	var b strings.Builder
	for _, orders := range info.PartialLinearizationsOperations() {
		longest := slices.MaxFunc(orders, func(a, b []porcupine.Operation) int { return cmp.Compare(len(a), len(b)) })
		if len(longest) == 0 {
			continue
		}
		r := longest[0].Input.(operation).register
		placed := make(map[porcupine.Operation]bool)
		for _, o := range longest {
			placed[o] = true
		}
		rest := slices.DeleteFunc(h.relevant(), func(o porcupine.Operation) bool { return placed[o] || o.Input.(operation).register != r })
		if len(rest) == 0 {
			continue
		}
		slices.SortFunc(rest, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		fmt.Fprintf(&b, "%d operations in a possible order, the last ones:\n", len(longest))
		h.list(&b, longest[max(0, len(longest)-8):])
		fmt.Fprintf(&b, "and then not:\n")
		h.list(&b, rest[:min(len(rest), 12)])
	}
	return b.String()
}

func (h *history) list(b *strings.Builder, all []porcupine.Operation) {
	seconds := func(ns int64) string {
		if ns == unending {
			return "?"
		}
		return time.Duration(ns).Round(time.Microsecond).String()
	}
	for _, o := range all {
		fmt.Fprintf(b, "\tclient %d, %s to %s: %s\n", o.ClientId, seconds(o.Call), seconds(o.Return), h.model().DescribeOperation(o.Input, o.Output))
	}
}

// The checker finds a write that was acknowledged and is lost, and accepts writes whose
// outcome is unknown.
func TestModel(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for _, test := range []struct {
		name string
		add  func(h *history)
		want porcupine.CheckResult
	}{
		{"read after write", func(h *history) {
			h.add(1, operation{staged, "b"}, at(1), at(2), outcome{})
			h.add(2, operation{target, ""}, at(1), at(2), outcome{read: "t"})
			h.add(1, operation{staged, ""}, at(3), at(4), outcome{read: "b"})
		}, porcupine.Ok},
		{"lost write", func(h *history) {
			h.add(1, operation{staged, "b"}, at(1), at(2), outcome{})
			h.add(1, operation{staged, ""}, at(3), at(4), outcome{read: "a"})
		}, porcupine.Illegal},
		{"stale read by another client", func(h *history) {
			h.add(1, operation{target, "b"}, at(1), at(5), outcome{})
			h.add(2, operation{target, ""}, at(2), at(3), outcome{read: "b"})
			h.add(3, operation{target, ""}, at(4), at(6), outcome{read: "t"})
		}, porcupine.Illegal},
		{"unknown write that happens late", func(h *history) {
			h.add(1, operation{staged, "b"}, at(1), at(2), outcome{unknown: true})
			h.add(2, operation{staged, ""}, at(3), at(4), outcome{read: "a"})
			h.add(2, operation{staged, ""}, at(5), at(6), outcome{read: "b"})
		}, porcupine.Ok},
		{"unknown write that does not happen", func(h *history) {
			h.add(1, operation{staged, "b"}, at(1), at(2), outcome{unknown: true})
			h.add(2, operation{staged, ""}, at(3), at(4), outcome{read: "a"})
		}, porcupine.Ok},
		{"unknown write that is taken back", func(h *history) {
			h.add(1, operation{staged, "b"}, at(1), at(2), outcome{unknown: true})
			h.add(2, operation{staged, ""}, at(3), at(4), outcome{read: "b"})
			h.add(2, operation{staged, ""}, at(5), at(6), outcome{read: "a"})
		}, porcupine.Illegal},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &history{begin: at(0), initial: map[register]string{staged: "a", target: "t"}}
			test.add(h)
			if got, _ := h.check(); got != test.want {
				t.Errorf("the check returns %s, want %s", got, test.want)
			}
		})
	}
}
