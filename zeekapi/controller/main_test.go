package controller_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

var long = flag.Bool("long", false, "run simulations and damage for minutes rather than seconds")

// scale returns how often to do what gets better with repetition.
func scale(usual, whenLong int) int {
	switch {
	case *long:
		return whenLong
	case testing.Short():
		return usual / 4
	}
	return usual
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
