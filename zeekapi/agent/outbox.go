package agent

import (
	"fmt"
	"net/netip"

	"github.com/google/uuid"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// outbox collects the outputs of a step. The parts of a machine share it.
type outbox struct {
	instance string
	out      []Output

	// dialect is the dialect of the last request. Messages other than responses
	// are published in it, or in all dialects if it is nil.
	dialect *zeekapi.Dialect
}

func (o *outbox) emit(out Output) { o.out = append(o.out, out) }

// take removes and returns the outputs.
func (o *outbox) take() []Output {
	out := o.out
	o.out = nil
	return out
}

func (o *outbox) publish(d *zeekapi.Dialect, msg zeekapi.Message) {
	o.emit(Publish{Dialect: d, Message: msg})
}

// publishTo publishes a message for a peer, or for all, in every dialect.
func (o *outbox) publishTo(to uuid.UUID, msg zeekapi.Message) {
	o.emit(Publish{Message: msg, To: to})
}

// changed reports the new state of a node.
func (o *outbox) changed(n zeekapi.Node, from, to zeekapi.State) {
	n.State = to
	o.publish(o.dialect, zeekapi.AgentChange{Instance: o.instance, Node: n, Old: from, New: to})
}

// complain reports an error of a node, or of the agent if node is "".
func (o *outbox) complain(node, format string, args ...any) {
	o.publish(o.dialect, zeekapi.AgentError{Instance: o.instance, Node: node, Text: fmt.Sprintf(format, args...)})
}

func (o *outbox) success(reqID string) zeekapi.Result {
	return zeekapi.Result{ReqID: reqID, Success: true, Instance: o.instance}
}

func (o *outbox) failure(reqID, format string, args ...any) zeekapi.Result {
	r := zeekapi.Failure(reqID, format, args...)
	r.Instance = o.instance
	return r
}

// mustMarshal marshals a record of the model, which cannot fail.
func mustMarshal(v any) broker.Value {
	out, err := record.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("agent: %v", err))
	}
	return out
}

// request is the part of a request that its response needs, and the peer that made it.
type request struct {
	call    *zeekapi.Request
	dialect *zeekapi.Dialect
	id      string
	peer    uuid.UUID // gone if it was lost
	address netip.AddrPort
}

// respond publishes the response to a request.
func (o *outbox) respond(req request, results ...zeekapi.Result) {
	o.publish(req.dialect, req.call.Respond(req.id, results...))
}

// accept responds to a request with a success.
func (o *outbox) accept(req request) { o.respond(req, o.success(req.id)) }

// refuse responds to a request with a failure.
func (o *outbox) refuse(req request, format string, args ...any) {
	o.respond(req, o.failure(req.id, format, args...))
}
