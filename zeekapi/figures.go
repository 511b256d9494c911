package zeekapi

import "time"

// The records in this file are measurements of nodes and machines. Zeek's APIs have no
// counterpart.

// Traffic counts the packets that a node has received from its packet source since its
// start, or that a network interface has received since the machine's start.
type Traffic struct {
	Measured time.Time `zeek:"measured"`
	Received uint64    `zeek:"received"` // packets that were processed
	Dropped  uint64    `zeek:"dropped"`  // packets that were lost before
	Link     uint64    `zeek:"link"`     // packets on the link, before any filter; 0: unknown to the packet source
	Bytes    uint64    `zeek:"bytes"`    // of the received packets

	// Rates are the rates of the most recent period. They are nil before the second
	// measurement.
	Rates *TrafficRates `zeek:"rates,optional"`
}

// DropShare returns the share of the packets that were dropped, from 0 to 1.
func (t Traffic) DropShare() float64 { return share(float64(t.Dropped), float64(t.Received)) }

// TrafficRates are the numbers of Traffic per second, over the time Period.
type TrafficRates struct {
	Period   time.Duration `zeek:"period"`
	Received float64       `zeek:"received"`
	Dropped  float64       `zeek:"dropped"`
	Link     float64       `zeek:"link"`
	Bytes    float64       `zeek:"bytes"`
}

// DropShare returns the share of the packets that were dropped, from 0 to 1.
func (r TrafficRates) DropShare() float64 { return share(r.Dropped, r.Received) }

func share(dropped, received float64) float64 {
	if dropped <= 0 {
		return 0
	}
	return dropped / (dropped + max(0, received))
}

// Since returns the rates between two measurements of the same counters, nil if the time
// between them is not positive, or if the counters began again.
func (t Traffic) Since(earlier Traffic, period time.Duration) *TrafficRates {
	if period <= 0 || t.Received < earlier.Received || t.Dropped < earlier.Dropped || t.Link < earlier.Link || t.Bytes < earlier.Bytes {
		return nil
	}
	rate := func(now, before uint64) float64 { return float64(now-before) / period.Seconds() }
	return &TrafficRates{
		Period:   period,
		Received: rate(t.Received, earlier.Received), Dropped: rate(t.Dropped, earlier.Dropped),
		Link: rate(t.Link, earlier.Link), Bytes: rate(t.Bytes, earlier.Bytes),
	}
}

// SetRates replaces the rates by those since an earlier measurement, which may be nil. A nil
// t is left alone.
func (t *Traffic) SetRates(earlier *Traffic) {
	switch {
	case t == nil:
	case earlier == nil:
		t.Rates = nil
	default:
		t.Rates = t.Since(*earlier, t.Measured.Sub(earlier.Measured))
	}
}

// InterfaceTraffic is the traffic at a network interface of a machine, as its kernel
// counts it. It does not depend on the nodes that read from the interface.
type InterfaceTraffic struct {
	Name    string  `zeek:"name"`
	Traffic Traffic `zeek:"traffic"`
}

// Connections are a node's connections to the other nodes of its cluster.
type Connections struct {
	Backend  string   `zeek:"backend"`  // cluster backend of the node, "broker" or "zeromq"
	Seen     uint64   `zeek:"seen"`     // nodes that have said hello to this one
	Expected uint64   `zeek:"expected"` // nodes that should have
	Missing  []string `zeek:"missing"`  // those that have not, sorted, at most MaxMissing
	More     uint64   `zeek:"more"`     // further missing nodes
}

// MaxMissing limits the names in Connections.
const MaxMissing = 100

// BackendBroker is the Connections.Backend of nodes that connect to each other by Broker.
const BackendBroker = "broker"

// Connects reports whether nodes with these roles are connected to each other with a
// cluster backend. With Broker, nodes of the same role are not (Zeek:
// base/frameworks/cluster/setup-connections). With others, all nodes are.
func Connects(backend string, a, b ClusterRole) bool {
	return a != RoleNone && b != RoleNone && (backend != BackendBroker || a != b)
}

// DirectorySpace is the space in the file system of a directory.
type DirectorySpace struct {
	Purpose string `zeek:"purpose"` // "state", "spool" or "archive"
	Path    string `zeek:"path"`
	Error   string `zeek:"error,optional"` // why the numbers are missing

	// The numbers are those of df(1), in bytes. The size includes what only root may
	// use, Free does not.
	Size uint64 `zeek:"size"`
	Used uint64 `zeek:"used"`
	Free uint64 `zeek:"free"`

	// Growth is the growth of Used in bytes per second, over the time Period. A Period
	// of 0 means that it is not known yet.
	Growth float64       `zeek:"growth"`
	Period time.Duration `zeek:"period"`

	// FullIn is the time until Free is used up, if the growth stays the same. 0 means
	// that this is not foreseeable.
	FullIn time.Duration `zeek:"full_in"`
}

// InstanceFigures are the measurements of an instance.
type InstanceFigures struct {
	Instance    string             `zeek:"instance"`
	Error       string             `zeek:"error,optional"` // why the agent did not answer
	Note        string             `zeek:"note,optional"`  // why it answered without measurements
	Nodes       []NodeDetail       `zeek:"nodes"`          // sorted by name
	Interfaces  []InterfaceTraffic `zeek:"interfaces"`     // those that nodes read from, sorted by name
	Directories []DirectorySpace   `zeek:"directories"`    // of the agent and its nodes
}

// Figures are the measurements of a whole cluster.
type Figures struct {
	Controller  string            `zeek:"controller"`  // name of the controller
	Directories []DirectorySpace  `zeek:"directories"` // of the controller
	Instances   []InstanceFigures `zeek:"instances"`   // sorted by name
}

// LoadedScript is a file that a node has loaded.
type LoadedScript struct {
	Path    string `zeek:"path"`
	Hash    string `zeek:"hash"`    // SHA-256 of the content that the node has loaded; "": unknown
	Changed bool   `zeek:"changed"` // whether it has changed since the node's start
}

// NodeScripts are the scripts that a node has loaded since its start.
type NodeScripts struct {
	Scripts []LoadedScript `zeek:"scripts"` // in the order of loading
	Changes []string       `zeek:"changes"` // other changes since the start, such as another version of Zeek
	Omitted uint64         `zeek:"omitted"` // scripts of the Zeek installation that are left out
}

// MaxScriptBytes limits the names in the NodeScripts of one instance, in bytes.
const MaxScriptBytes = 4 << 20
