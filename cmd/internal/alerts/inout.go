package alerts

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Input is one of Event, States, Traffic, Members, Storable, Certificates, Turn
// and Tick.
type Input interface{ input() }

// The inputs.
type (
	// Event is an event of the cluster.
	Event struct{ zeekapi.ClusterEvent }

	// States are the states of the nodes of an instance.
	States struct {
		Instance string
		Nodes    map[string]zeekapi.State
	}

	// Traffic is what a running node with a packet source has received in a period.
	Traffic struct {
		Instance, Node    string
		Received, Dropped float64 // packets per second
	}

	// Members are the instances, and the nodes on each, that belong to the cluster. Alerts
	// about others end.
	Members struct{ Nodes map[string][]string }

	// Storable reports why the controller cannot store changes, "" if it can.
	Storable struct{ Why string }

	// Certificates are all certificates of the controller.
	Certificates struct{ All []Cert }

	// Turn reports that this controller begins to lead, or to stand by. A leader continues from
	// the stored events and drained instances. A controller that stands by has none of them,
	// and only watches its certificates.
	Turn struct {
		Stored  []zeekapi.ClusterEvent
		Drained []string
	}

	// Tick reports that time has passed.
	Tick struct{}
)

// Cert is a certificate.
type Cert struct {
	Name     string // such as its file
	NotAfter time.Time
}

func (Event) input()        {}
func (States) input()       {}
func (Traffic) input()      {}
func (Members) input()      {}
func (Storable) input()     {}
func (Certificates) input() {}
func (Turn) input()         {}
func (Tick) input()         {}

// Notification tells operators which alerts have begun and ended since the previous one.
type Notification struct {
	Time     time.Time
	Test     bool            // there is no alert, operators test their channels
	Repeated bool            // Firing are all present alerts, without news
	Firing   []zeekapi.Alert // the oldest first
	Resolved []zeekapi.Alert
	More     int // further alerts that are not listed

	// Events are for the history of the cluster. They include alerts that are not listed.
	Events []zeekapi.ClusterEvent
}

// limit limits the listed alerts.
func (n *Notification) limit() {
	for _, list := range []*[]zeekapi.Alert{&n.Firing, &n.Resolved} {
		if more := len(*list) - MaxListed; more > 0 {
			n.More += more
			*list = (*list)[:MaxListed]
		}
	}
}
