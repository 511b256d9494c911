// Package interrupt ends a program in good order at the first signal, and at
// once at the second.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends at the first SIGINT or SIGTERM, or when
// stop is called. From then on these signals do what they do to programs that
// do not ask for them: whoever sees the context end can rely on that, unlike
// with signal.NotifyContext, which takes signals until its stop is called.
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
