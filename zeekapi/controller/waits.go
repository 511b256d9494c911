package controller

import "github.com/zeekwire/zeekwire/zeekapi"

// waits keeps the requests that wait for an agent's response to the next deployment.
type waits struct {
	requests   *requests
	byInstance map[string]*request
}

// wait is the task of such a request.
type wait struct {
	basicTask
	waits    *waits
	instance string
}

// await ends a request with the response of an instance's agent to the next
// deployment.
func (w *waits) await(r *request, instance string) {
	r.task = &wait{waits: w, instance: instance}
	w.byInstance[instance] = r
}

func (t *wait) ended(*request) { delete(t.waits.byInstance, t.instance) }

// giveUp ends the request that waits for the agent of an instance, if there is
// one.
func (w *waits) giveUp(instance, why string) {
	if r := w.byInstance[instance]; r != nil {
		w.requests.fail(r, "%s", why)
	}
}

// end ends the request that waits for the agent of an instance, if there is one,
// with the results of the agent.
func (w *waits) end(instance string, results []zeekapi.Result) {
	r := w.byInstance[instance]
	if r == nil {
		return
	}
	for _, res := range results {
		res.ReqID, res.Instance = r.id, instance
		r.results = append(r.results, res)
	}
	w.requests.finish(r)
}
