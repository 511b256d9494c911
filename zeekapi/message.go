package zeekapi

// Message is an event of the management APIs in neutral form. Its fields, except
// those tagged "-", are the event's arguments in order.
type Message interface {
	// RequestID returns the ID that ties a response to its request. Messages
	// without a response return "".
	RequestID() string
}

// ReqID is embedded by all requests and responses.
type ReqID struct {
	ID string `zeek:"reqid"`
}

// RequestID returns the request's ID.
func (r ReqID) RequestID() string { return r.ID }

func (r *ReqID) setID(id string) { r.ID = id }

// identifiable is a pointer to a message with a ReqID.
type identifiable interface{ setID(id string) }

// OneWay is embedded by messages that have no response.
type OneWay struct{}

// RequestID returns "".
func (OneWay) RequestID() string { return "" }
