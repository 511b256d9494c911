// Package interrupt ends a program gracefully on the first signal, and
// immediately on a further one.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// repetition is the time in which further signals belong to the first one. Some
// senders repeat it: timeout(1) signals the program and then its process group, so
// that the program would be killed while it ends.
const repetition = 100 * time.Millisecond

// Context returns a context that ends at the first SIGINT or SIGTERM, or when
// stop is called. 100 ms after the signal, the default behaviour of these signals
// is restored, so that another signal ends the program. With
// signal.NotifyContext, it would be ignored until stop is called.
func Context() (ctx context.Context, stop context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop = context.WithCancel(context.Background())
	go func() {
		select {
		case <-signals:
			stop()
			time.Sleep(repetition)
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	return ctx, stop
}
