package controller_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var long = flag.Bool("long", false, "run simulations and damage for minutes rather than seconds")

// race is whether the race detector is there, with which all takes several
// times as long. What one goroutine does alone need not be repeated with it as
// often as without.
var race bool

// scale returns how often to do what gets better with repetition.
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
	// Parallel tests wait more than they compute. The command line goes before this.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
