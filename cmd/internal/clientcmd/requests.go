package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// ask connects, makes one call with askOn, and disconnects.
func ask[T any](ctx context.Context, r *run, call func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := r.connect(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	return askOn(ctx, r, c, call)
}

// askOn makes one call on an existing connection. The timeout of a request limits
// the call. The errors for a missing response and for an unsupported request have
// the form in which commands print them.
func askOn[T any](ctx context.Context, r *run, c *client.Client, call func(context.Context, *client.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	v, err := call(ctx, c)
	var missing *request.NoResponseError
	var refused jsonv1.Error
	switch {
	case errors.As(err, &missing) && errors.As(missing.Err, &refused) && !errors.Is(missing.Err, context.DeadlineExceeded):
		err = &rejectedError{refused}
	case errors.As(err, &missing):
		err = r.lost(missing.Err)
	case errors.Is(err, zeekapi.ErrUnknown):
		err = fmt.Errorf("controller %s speaks the %s dialect, in which there are only %s", r.remote(), r.dialect, strings.Join(supportedCommands(c), ", "))
	}
	return v, err
}

// rejectedError means that the WebSocket server reported an error instead of passing on
// a request.
type rejectedError struct{ reason jsonv1.Error }

// Error has the words of the server.
func (e *rejectedError) Error() string {
	return fmt.Sprintf("the server refused the request: %s: %s", e.reason.Code, e.reason.Context)
}

// Unwrap returns the error that the server reported.
func (e *rejectedError) Unwrap() error { return e.reason }

// supportedCommands returns the supported commands of those that depend on the
// dialect of the controller.
func supportedCommands(c *client.Client) []string {
	var names []string
	for _, x := range []struct {
		request zeekapi.Message
		command string
	}{
		{zeekapi.GetInstancesRequest{}, "get-instances"},
		{zeekapi.GetNodesRequest{}, "get-nodes"},
		{zeekapi.SetConfigurationRequest{}, "deploy-config"},
		{zeekapi.TestTimeoutRequest{}, "test-timeout"},
	} {
		if c.Has(x.request) {
			names = append(names, x.command)
		}
	}
	return names
}

// noResponseReason describes why there was no response. For a timeout, it uses the
// text of zeek-client.
func (r *run) noResponseReason(err error) string {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err.Error()
	}
	text := fmt.Sprintf("%s connection to %s timed out", r.link, r.remote())
	if _, details, ok := strings.Cut(err.Error(), context.DeadlineExceeded.Error()); ok {
		text += details
	}
	return text
}

// refusal returns the error texts of the controller if err is a
// client.RefusedError.
func refusal(err error) (text string, ok bool) {
	var refused *client.RefusedError
	if !errors.As(err, &refused) {
		return "", false
	}
	return strings.Join(refused.Texts, "; "), true
}

// requestError returns the error to print for a failed call on standard error. The
// name of the data appears in the error for a response without data.
func requestError(err error, data string) error {
	switch text, ok := refusal(err); {
	case ok && text == "":
		return errors.New(noReason)
	case ok:
		return errors.New(text)
	case errors.Is(err, client.ErrNoData):
		return fmt.Errorf("received result did not contain %s data", data)
	}
	return err
}
