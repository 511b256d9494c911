package clientcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// noReason stands for an error text that should be there.
const noReason = "no reason given"

// answer is what most commands print.
type answer struct {
	Results map[string]any `json:"results"`
	Errors  []any          `json:"errors"`
}

func newAnswer() *answer { return &answer{Results: map[string]any{}, Errors: []any{}} }

// complain adds an error of an instance or a node, "" if it is the
// controller's.
func (a *answer) complain(source, text string) {
	a.Errors = append(a.Errors, map[string]any{"source": orNull(source), "error": orNull(text)})
}

// orNull returns nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// ask connects, makes one call of the client within the time limit of a
// request, and disconnects.
func ask[T any](ctx context.Context, r *run, call func(context.Context, *client.Client) (T, error)) (T, error) {
	c, err := r.connect(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	return askOn(ctx, r, c, call)
}

// askOn is ask on a connection that stays.
func askOn[T any](ctx context.Context, r *run, c *client.Client, call func(context.Context, *client.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	v, err := call(ctx, c)
	var missing *request.NoResponseError
	switch {
	case errors.As(err, &missing):
		err = errors.New("no response received: " + r.why(missing.Err))
	case errors.Is(err, zeekapi.ErrUnknown):
		err = fmt.Errorf("controller %s speaks the %s dialect, in which there are only %s", r.remote(), r.dialect, strings.Join(possible(c), ", "))
	}
	return v, err
}

// possible returns the commands that a controller can carry out, of those that
// not all can.
func possible(c *client.Client) []string {
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

// why says why there was no response, in zeek-client's words for time-outs.
func (r *run) why(err error) string {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err.Error()
	}
	text := fmt.Sprintf("%s connection to %s timed out", r.link, r.remote())
	if _, complaint, ok := strings.Cut(err.Error(), context.DeadlineExceeded.Error()); ok {
		text += complaint
	}
	return text
}

// refusal returns the controller's words if that is what err is.
func refusal(err error) (text string, ok bool) {
	var refused *client.RefusedError
	if !errors.As(err, &refused) {
		return "", false
	}
	return strings.Join(refused.Texts, "; "), true
}

// plain is for calls whose refusal goes to standard error.
func plain(err error, data string) error {
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
