package eventloop

import (
	"context"
	"time"
)

// Every returns a Source that calls read at once and then at intervals, and whose inputs are
// the results. When ctx ends, the Source returns even if read does not: a file system that
// does not answer must not keep a program from ending. The Source must not be called after it
// has returned an error, because read may still be running.
func Every[In any](interval time.Duration, read func(now time.Time) In) Source[In] {
	var next time.Time
	return func(ctx context.Context) (in In, ok bool, err error) {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		select {
		case now := <-timer.C:
			next = now.Add(interval)
			results := make(chan In, 1)
			go func() { results <- read(now) }()
			select {
			case in = <-results:
				return in, true, nil
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		return in, false, ctx.Err()
	}
}
