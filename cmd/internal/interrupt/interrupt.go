// Package interrupt ends a program gracefully on the first signal, and
// immediately on the second.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends at the first SIGINT or SIGTERM, or when
// stop is called. Before the context ends, the default behaviour of
// these signals is restored, so that a second signal ends the program. With
// signal.NotifyContext, it would be ignored until stop is called.
func Context() (ctx context.Context, stop context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, stop = context.WithCancel(context.Background())
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		stop()
	}()
	return ctx, stop
}
