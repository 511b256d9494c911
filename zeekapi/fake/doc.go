// Package fake provides a controller and agents of Zeek's cluster management for
// tests of programs that talk to them. They run in the process of the test, need
// no Zeek, and misbehave on request.
//
// A [Controller] is by default a real one, that of package controller, with a
// cluster of simulated nodes. Programs reach it over WebSockets, native Broker
// connections or an in-process bus. [Handle] overrides any request that package
// zeekapi declares:
//
//	package main_test
//
//	import (
//		"context"
//		"testing"
//
//		"github.com/zeekwire/zeekwire/zeekapi"
//		"github.com/zeekwire/zeekwire/zeekapi/fake"
//	)
//
//	func TestProgram(t *testing.T) {
//		cluster := fake.SampleCluster()
//		controller, err := fake.NewController(t.Context(), fake.Config{Cluster: &cluster})
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer func() {
//			if err := controller.Close(); err != nil {
//				t.Error(err)
//			}
//		}()
//		fake.Handle(controller, zeekapi.RestartCall, func(_ context.Context, q zeekapi.RestartRequest) ([]zeekapi.Result, error) {
//			return nil, fake.ErrLoseResponse // nodes restart, but the client gets no response
//		})
//		address, err := controller.ListenWebSocket(t.Context())
//		if err != nil {
//			t.Fatal(err)
//		}
//		runProgram(t, "--controller", address)
//		if len(controller.Requests()) == 0 {
//			t.Error("the program made no requests")
//		}
//	}
//
// An [Agent] takes the place of an agent in the same way, for tests of
// controllers. A Controller also drives agents under test: see Controller.Tell and
// [Await].
//
// A fake works inside a bubble of testing/synctest, as long as it is reached over
// in-process buses only.
package fake
