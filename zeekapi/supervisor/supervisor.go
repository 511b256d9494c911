// Package supervisor is the dialect in which Zeek's Supervisor ("zeek -j") can
// be told to run nodes, the module SupervisorControl of Zeek 5.0 to 9.0.
//
// A Supervisor listens only if SupervisorControl::enable_listen is set. It
// takes requests on Topic and publishes what it has to say on topics below it,
// so a subscription to Topic brings everything.
//
// The events never changed, but the record in which they describe a node did,
// and not compatibly: see Layout.
//
// (Zeek: base/frameworks/supervisor/{api,control,main}.zeek, src/supervisor)
package supervisor

import "github.com/zeekwire/zeekwire/zeekapi"

// Topic is the default of SupervisorControl::topic_prefix, and Port that of
// Broker::default_port, where a Supervisor listens.
const (
	Topic = "zeek/supervisor"
	Port  = 9999
)

// The requests and what the Supervisor says.
type (
	// StatusRequest asks for a node, or for all with "".
	StatusRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// StatusResponse has what was asked for by name. A node that the
	// Supervisor does not have is not in it.
	StatusResponse struct {
		zeekapi.ReqID
		Nodes map[string]NodeStatus
	}

	// CreateRequest has a new node started, and started again whenever it
	// ends, until it is destroyed.
	CreateRequest struct {
		zeekapi.ReqID
		Node NodeConfig
	}

	// CreateResponse says what is wrong with the node, "" if nothing is. Then
	// it is going to be started; whether that works is not known yet.
	CreateResponse struct {
		zeekapi.ReqID
		Error string `zeek:"result"`
	}

	// DestroyRequest has a node, or all with "", ended and forgotten.
	DestroyRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// DestroyResponse says whether there is such a node. Its name is free at
	// once. Its process may take long to end, and no other is started until it
	// has.
	DestroyResponse struct {
		zeekapi.ReqID
		Known bool `zeek:"result"`
	}

	// RestartRequest has a node, or all with "", ended and started again.
	RestartRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// RestartResponse says whether there is such a node.
	RestartResponse struct {
		zeekapi.ReqID
		Known bool `zeek:"result"`
	}

	// StopRequest ends the Supervisor itself.
	StopRequest struct {
		zeekapi.OneWay `zeek:"-"`
	}

	// NodeStarted says that the process of a node was started, for the first
	// time or again.
	NodeStarted struct {
		zeekapi.OneWay `zeek:"-"`
		Node           string `zeek:"node"`
		PID            uint64 `zeek:"pid"`
	}
)

// NodeStatus is a node as the Supervisor has it.
type NodeStatus struct {
	Config NodeConfig
	Layout Layout // in which the Supervisor described it
	PID    int64  // 0 until the process was started for the first time
}

const (
	module = "SupervisorControl::"
	since  = "4.0.0"
)

// Dialect returns the dialect of a Supervisor whose nodes have the given
// layout. It matters only for encoding: all layouts are understood.
func Dialect(topic string, l Layout) *zeekapi.Dialect {
	return zeekapi.NewDialect("SupervisorControl", zeekapi.Topics{Supervisor: topic},
		declare[StatusRequest]("status_request"),
		zeekapi.DeclareAs(module+"status_response", zeekapi.SupervisorAPI, since, toStatus(l), fromStatus),
		zeekapi.DeclareAs(module+"create_request", zeekapi.SupervisorAPI, since, toCreate(l), fromCreate),
		declare[CreateResponse]("create_response"),
		declare[DestroyRequest]("destroy_request"),
		declare[DestroyResponse]("destroy_response"),
		declare[RestartRequest]("restart_request"),
		declare[RestartResponse]("restart_response"),
		declare[StopRequest]("stop_request"),
		zeekapi.Declare[NodeStarted](module+"node_status", zeekapi.SupervisorAPI, "5.0.0"),
	)
}

func declare[M zeekapi.Message](event string) zeekapi.Declaration {
	return zeekapi.Declare[M](module+event, zeekapi.SupervisorAPI, since)
}
