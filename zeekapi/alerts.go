package zeekapi

import "time"

// The records in this file are about notifications of operators.

// Alert is a problem of the cluster of which operators are notified.
type Alert struct {
	Rule     string    `zeek:"rule"` // what kind of problem it is, such as "node-failed"
	Instance string    `zeek:"instance"`
	Node     string    `zeek:"node"`
	Subject  string    `zeek:"subject"` // distinguishes alerts of the same rule, such as a directory; "" if there is only one
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
	Queued uint64    `zeek:"queued"` // notifications that are not sent yet
	Error  string    `zeek:"error"`  // of the last attempt; "" if it succeeded
	Last   time.Time `zeek:"last,optional"`
}

// Alerts are the present alerts of a controller, and its channels.
type Alerts struct {
	Present  []Alert        `zeek:"present"` // the oldest first
	Channels []AlertChannel `zeek:"channels"`
}
