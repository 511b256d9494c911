package zeekapi

import "time"

// StepDownRequest makes the leader of several controllers hand over to another one.
type StepDownRequest struct{ ReqID }

// StepDownResponse reports that the controller begins to hand over. It has
// []ControllerMember as its data.
type StepDownResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// StepDownCall declares StepDownRequest and its response.
var StepDownCall = single[StepDownRequest, StepDownResponse](Request{
	Name:    "step_down",
	Summary: "Let another controller lead",
	API:     ControllerAPI,
	Effect:  Changes,
	Data:    dataOf[[]ControllerMember](),
	Forms:   []Form{operations("step_down")},
})

// ControllersRequest gets the controllers that share their state, and their leader.
type ControllersRequest struct{ ReqID }

// ControllersResponse has Controllers as its data.
type ControllersResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// ControllersCall declares ControllersRequest and its response.
var ControllersCall = single[ControllersRequest, ControllersResponse](Request{
	Name:    "controllers",
	Summary: "List the controllers that share their state, and their leader",
	API:     ControllerAPI,
	Effect:  Reads,
	Data:    dataOf[Controllers](),
	Forms:   []Form{operations("controllers")},
})

// StoredAnswer precedes the response of a controller that stands by, to the request with
// the same ID. The response is from the stored state.
type StoredAnswer struct {
	ReqID
	Controller string    `zeek:"controller"` // its name
	AsOf       time.Time `zeek:"as_of"`      // when that state was last known to be the newest one
}

// Announced reports whether a StoredAnswer precedes the responses to the request. A site never
// changes, and the other exceptions have the time of the stored state in the response.
func (r *Request) Announced() bool {
	return r != ControllersCall.Request && r != StatusCall.Request && r != DownloadSiteCall.Request
}

var _ = oneWay[StoredAnswer](ControllerAPI, operations("stored_answer"))
