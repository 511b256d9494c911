// Package supervisor implements the dialect for controlling Zeek's Supervisor
// ("zeek -j"), the module SupervisorControl of Zeek 5.0 to 9.0.
//
// A Supervisor listens only if SupervisorControl::enable_listen is set. It
// receives requests on Topic and publishes its responses on topics below it,
// so a subscription to Topic receives all messages.
//
// The events are the same in all versions. The record that describes a node
// changed incompatibly; see Layout.
//
// (Zeek: base/frameworks/supervisor/{api,control,main}.zeek, src/supervisor)
package supervisor

import "github.com/zeekwire/zeekwire/zeekapi"

// Topic is the default of SupervisorControl::topic_prefix. Port is the default
// of Broker::default_port, on which a Supervisor listens.
const (
	Topic = "zeek/supervisor"
	Port  = 9999
)

// The requests, the responses, and the event that the Supervisor publishes by
// itself.
type (
	// StatusRequest requests the status of a node, or of all nodes if the name
	// is empty.
	StatusRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// StatusResponse contains the status of the requested nodes, by name.
	// Unknown nodes are missing.
	StatusResponse struct {
		zeekapi.ReqID
		Nodes map[string]NodeStatus
	}

	// CreateRequest requests the creation of a node. The Supervisor starts the
	// node, and restarts it whenever it ends, until it is destroyed.
	CreateRequest struct {
		zeekapi.ReqID
		Node NodeConfig
	}

	// CreateResponse contains the error of a creation, or "" if the node will
	// be started. Starting it may still fail.
	CreateResponse struct {
		zeekapi.ReqID
		Error string `zeek:"result"`
	}

	// DestroyRequest requests that a node, or all nodes if the name is empty,
	// be stopped and removed.
	DestroyRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// DestroyResponse reports whether the node existed. Its name can be reused
	// at once. Its process may take long to end, and the Supervisor starts no
	// other until then.
	DestroyResponse struct {
		zeekapi.ReqID
		Known bool `zeek:"result"`
	}

	// RestartRequest requests the restart of a node, or of all nodes if the
	// name is empty.
	RestartRequest struct {
		zeekapi.ReqID
		Node string `zeek:"node"`
	}

	// RestartResponse reports whether the node exists.
	RestartResponse struct {
		zeekapi.ReqID
		Known bool `zeek:"result"`
	}

	// StopRequest requests that the Supervisor itself exit.
	StopRequest struct {
		zeekapi.OneWay `zeek:"-"`
	}

	// NodeStarted reports that the process of a node was started or restarted.
	NodeStarted struct {
		zeekapi.OneWay `zeek:"-"`
		Node           string `zeek:"node"`
		PID            uint64 `zeek:"pid"`
	}
)

// NodeStatus is the status of a node.
type NodeStatus struct {
	Config NodeConfig
	Layout Layout // layout in which the Supervisor sent Config
	PID    int64  // 0 before the first start of the process
}

const (
	module = "SupervisorControl::"
	since  = "4.0.0"
)

// Dialect returns the dialect of a Supervisor on the given topic. Nodes are
// encoded with the layout l; all layouts can be decoded.
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
