package zeekapi

// Effect says what a request of a client does to a cluster.
type Effect uint8

// The effects.
const (
	Reads   Effect = iota + 1 // tells what is, or what would be
	Changes                   // what is configured, or what runs
)

// EffectOf returns what a request of a client does. It reports false for
// messages that are no such requests.
func EffectOf(m Message) (Effect, bool) {
	_, effect := response(m, Result{})
	return effect, effect != 0
}

// Refuse returns the response to a request of a client that says why it fails,
// and nil if m is no such request.
func Refuse(m Message, why string) Message {
	refusal, _ := response(m, Failure(m.RequestID(), "%s", why))
	return refusal
}

// response is the table of all requests of clients: the response to each, with
// one result, and the effect. That they are together keeps a request from being
// answered without anybody having said what it does.
func response(request Message, one Result) (Message, Effect) {
	all := []Result{one}
	switch m := request.(type) {
	case GetInstancesRequest:
		return GetInstancesResponse{m.ReqID, one}, Reads
	case StageConfigurationRequest:
		return StageConfigurationResponse{m.ReqID, all}, Changes
	case GetConfigurationRequest:
		return GetConfigurationResponse{m.ReqID, one}, Reads
	case DeployRequest:
		return DeployResponse{m.ReqID, all}, Changes
	case SetConfigurationRequest:
		return SetConfigurationResponse{m.ReqID, all}, Changes
	case GetNodesRequest:
		return GetNodesResponse{m.ReqID, all}, Reads
	case GetIDValueRequest:
		return GetIDValueResponse{m.ReqID, all}, Reads
	case RestartRequest:
		return RestartResponse{m.ReqID, all}, Changes
	case TestTimeoutRequest:
		return TestTimeoutResponse{m.ReqID, one}, Reads

	case StatusRequest:
		return StatusResponse{m.ReqID, one}, Reads
	case DryRunRequest:
		return DryRunResponse{m.ReqID, all}, Reads
	case ForceDeployRequest:
		return ForceDeployResponse{m.ReqID, all}, Changes
	case HistoryRequest:
		return HistoryResponse{m.ReqID, one}, Reads
	case GetPastRequest:
		return GetPastResponse{m.ReqID, one}, Reads
	case RollbackRequest:
		return RollbackResponse{m.ReqID, all}, Changes
	case DrainRequest:
		return DrainResponse{m.ReqID, all}, Changes
	case RollingRestartRequest:
		return RollingRestartResponse{m.ReqID, one}, Changes
	case CancelJobRequest:
		return CancelJobResponse{m.ReqID, one}, Changes
	case EventsRequest:
		return EventsResponse{m.ReqID, one}, Reads
	case LogsRequest:
		return LogsResponse{m.ReqID, one}, Reads
	}
	return nil, 0
}
