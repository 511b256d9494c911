package controller

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/internal/diskspace"
	"github.com/zeekwire/zeekwire/zeekapi/internal/eventloop"
)

// measuredSpace is the space in the controller's directories that was measured last. It may
// be used concurrently.
type measuredSpace struct {
	all atomic.Pointer[[]zeekapi.DirectorySpace] // nil before the first measurement
}

// last returns the last measurement.
func (s *measuredSpace) last() []zeekapi.DirectorySpace {
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}

// watch measures directories until the returned function is called.
func (s *measuredSpace) watch(ctx context.Context, directories []Directory) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	if len(directories) > 0 {
		done.Go(func() {
			next := eventloop.Every(diskspace.Interval, diskspace.NewMeter(directories).Measure)
			for {
				all, _, err := next(ctx)
				if err != nil {
					return
				}
				s.all.Store(&all)
			}
		})
	}
	return func() {
		cancel()
		done.Wait()
	}
}
