package service

import (
	"os"
	"runtime/debug"
)

// LimitMemory returns the memory that this process may use, in bytes: the limit of
// its control group, or the memory of the machine if that is less. The result is 0 if
// it is unknown. LimitMemory also tells Go's garbage collector about the limit, unless
// the environment variable GOMEMLIMIT does.
func LimitMemory() int64 {
	limit := memoryLimit("/")
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		// With more than that, garbage is collected sooner than when the memory in use
		// has doubled. The limits of the transports keep the memory in use below it.
		debug.SetMemoryLimit(limit / 2)
	}
	return limit
}
