package controller_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var long = flag.Bool("long", false, "run the simulations, kill tests and damage tests for minutes")

// race reports whether the race detector is enabled. Tests with a single goroutine
// then run fewer repetitions, because they are several times slower.
var race bool

// scale returns the number of repetitions of a randomized test.
func scale(usual, whenLong int) int {
	switch {
	case *long:
		return whenLong
	case testing.Short(), race:
		return usual / 4
	}
	return usual
}

func TestMain(m *testing.M) {
	// Parallel tests wait more than they compute. A flag on the command line
	// overrides this.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
