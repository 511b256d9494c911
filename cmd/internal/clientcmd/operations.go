package clientcmd

import (
	"context"
	"errors"

	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/operations"
)

// connectAll returns a client that also speaks the dialect of package operations and
// receives cluster events. The caller must close it.
func (r *run) connectAll(ctx context.Context) (*client.Client, error) {
	return r.connect(ctx, operations.Dialect(operations.DefaultTopics))
}

// connectExtended is connectAll for requests of package operations. It fails if the
// controller does not support them; the error names the feature.
func (r *run) connectExtended(ctx context.Context, feature string) (*client.Client, error) {
	c, err := r.connectAll(ctx)
	if err != nil {
		return nil, err
	}
	_, err = askOn(ctx, r, c, func(ctx context.Context, c *client.Client) (struct{}, error) {
		return struct{}{}, c.Probe(ctx)
	})
	if err == nil {
		return c, nil
	}
	c.Close()
	if errors.Is(err, client.ErrUnsupported) {
		return nil, r.unsupported(feature)
	}
	return nil, err
}

// unsupported returns the error about a feature that the controller does not support.
func (r *run) unsupported(feature string) error {
	return r.fail("the controller %s knows nothing of %s: it is Zeek's own, or an old one of zeekwire", r.remote(), feature)
}

// askOperation connects, makes one call of package operations, and disconnects. Its
// errors name the feature.
func askOperation[T any](ctx context.Context, r *run, feature string, call func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := r.connectExtended(ctx, feature)
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	v, err := askOn(ctx, r, c, call)
	if err != nil {
		err = requestError(err, feature)
	}
	return v, err
}
