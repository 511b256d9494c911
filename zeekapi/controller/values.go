package controller

import (
	"fmt"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

func mustMarshal(v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		// Everything that the machine marshals came out of Unmarshal or is its own.
		panic(fmt.Sprintf("controller: %v", err))
	}
	return out
}

// dataOf returns the data that an agent sent as a T, whose zero value stands for no
// data. It returns false if the data is not a T.
func dataOf[T any](data broker.Value) (t T, ok bool) {
	ok = data.IsNone() || record.Unmarshal(data, &t) == nil
	return t, ok
}

// isA reports whether an agent sent data that clients can read as a T, or none.
func isA[T any](data broker.Value) bool {
	_, ok := dataOf[T](data)
	return ok
}

// successWith returns a successful result with data for a client.
func successWith(reqID string, data any) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Data: mustMarshal(data)}
}

// remarkOn returns a successful result with a text about an instance.
func remarkOn(reqID, instance, text string) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Instance: instance, Data: broker.String(text)}
}

func failures(reqID string, errs []string) []zeekapi.Result {
	results := make([]zeekapi.Result, len(errs))
	for i, e := range errs {
		results[i] = zeekapi.Failure(reqID, "%s", e)
	}
	return results
}

// byName returns the items by their names.
func byName[T any](items []T, name func(T) string) map[string]T {
	named := make(map[string]T, len(items))
	for _, item := range items {
		named[name(item)] = item
	}
	return named
}
