package zeekapi

import "time"

// The records in this file are about notifications of operators.

// Alert is a problem of the cluster of which operators are notified.
type Alert struct {
	Rule     string    `zeek:"rule"` // what kind of problem it is, such as "node-failed"
	Instance string    `zeek:"instance"`
	Node     string    `zeek:"node"`
	Subject  string    `zeek:"subject"` // tells alerts of the same rule apart, such as a directory; "" if there is only one
	Text     string    `zeek:"text"`
	Since    time.Time `zeek:"since"`
	Ended    time.Time `zeek:"ended,optional"` // zero: it is present
	Times    uint64    `zeek:"times"`          // how often it began since the last notification
}

// AlertChannel is a way by which a controller notifies operators.
type AlertChannel struct {
	Name string `zeek:"name"` // "command", "webhook" or "mail"

	// To is the program, the host of the URL, or the recipients, without secrets.
	To string `zeek:"to"`

	Sent   uint64    `zeek:"sent"`   // delivered notifications
	Failed uint64    `zeek:"failed"` // notifications that were given up
	Queued uint64    `zeek:"queued"` // notifications that wait
	Error  string    `zeek:"error"`  // of the last attempt; "" if it succeeded
	Last   time.Time `zeek:"last,optional"`
}

// Alerts are the present alerts of a controller, and its channels.
type Alerts struct {
	Present  []Alert        `zeek:"present"` // the oldest first
	Channels []AlertChannel `zeek:"channels"`
}

// AlertsRequest gets the present alerts.
type AlertsRequest struct{ ReqID }

// AlertsResponse has Alerts as its data.
type AlertsResponse struct {
	ReqID
	Result Result `zeek:"result"`
}

// AlertsCall declares AlertsRequest and its response.
var AlertsCall = single[AlertsRequest, AlertsResponse](Request{
	Name:    "alerts",
	Summary: "List the present alerts",
	API:     ControllerAPI,
	Effect:  Reads,
	Forms:   []Form{operations("alerts")},
})

// TestAlertsRequest sends a test notification by each channel.
type TestAlertsRequest struct{ ReqID }

// TestAlertsResponse has a result for each channel, with its name as data.
type TestAlertsResponse struct {
	ReqID
	Results []Result `zeek:"results"`
}

// TestAlertsCall declares TestAlertsRequest and its response.
var TestAlertsCall = many[TestAlertsRequest, TestAlertsResponse](Request{
	Name:    "test_alerts",
	Summary: "Send a test notification by each channel",
	API:     ControllerAPI,
	Effect:  Changes,
	Forms:   []Form{operations("test_alerts")},
})
