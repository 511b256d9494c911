package service

import (
	"os"
	"runtime/debug"
)

// LimitMemory returns the memory that this process may use, in bytes: the limit of
// its control group, or the memory of the machine if that is less. The result is 0 if
// it is unknown. LimitMemory also sets the limit of Go's garbage collector to half of
// that, unless the environment variable GOMEMLIMIT sets one.
func LimitMemory() int64 {
	limit := memoryLimit("/")
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		// Below this limit, the collector runs whenever the memory in use has doubled,
		// which would exceed the limit of the process if more than half were in use.
		// The limits of the transports keep the memory in use below the half.
		debug.SetMemoryLimit(limit / 2)
	}
	return limit
}
