package wire

import "strconv"

// Code is an error code of Broker (Broker: ec). DROP_CONN messages contain
// one.
type Code uint8

// The codes, in the order of their numbers.
const (
	CodeNone Code = iota
	CodeUnspecified
	CodePeerIncompatible
	CodePeerInvalid
	CodePeerUnavailable
	CodePeerDisconnectDuringHandshake
	CodePeerTimeout
	CodeMasterExists
	CodeNoSuchMaster
	CodeNoSuchKey
	CodeRequestTimeout
	CodeTypeClash
	CodeInvalidData
	CodeBackendFailure
	CodeStaleData
	CodeCannotOpenFile
	CodeCannotWriteFile
	CodeInvalidTopicKey
	CodeEndOfFile
	CodeInvalidTag
	CodeInvalidMessage
	CodeInvalidStatus
	CodeConversionFailed
	CodeConsumerExists
	CodeConnectionTimeout
	CodeBadMemberFunctionCall
	CodeRepeatedRequestID
	CodeBrokenClone
	CodeShuttingDown
	CodeInvalidPeeringRequest
	CodeRepeatedPeeringHandshakeRequest
	CodeUnexpectedHandshakeMessage
	CodeInvalidHandshakeState
	CodeNoPathToPeer
	CodeNoConnectorAvailable
	CodeCannotOpenResource
	CodeSerializationFailed
	CodeDeserializationFailed
	CodeWrongMagicNumber
	CodeRedundantConnection
	CodeLogicError
	CodeInvalidJSON // unknown to Zeek before 7.0, so it must not be sent

	numCodes
)

var codeNames = [numCodes]string{
	"none", "unspecified", "peer_incompatible", "peer_invalid",
	"peer_unavailable", "peer_disconnect_during_handshake", "peer_timeout",
	"master_exists", "no_such_master", "no_such_key", "request_timeout",
	"type_clash", "invalid_data", "backend_failure", "stale_data",
	"cannot_open_file", "cannot_write_file", "invalid_topic_key",
	"end_of_file", "invalid_tag", "invalid_message", "invalid_status",
	"conversion_failed", "consumer_exists", "connection_timeout",
	"bad_member_function_call", "repeated_request_id", "broken_clone",
	"shutting_down", "invalid_peering_request",
	"repeated_peering_handshake_request", "unexpected_handshake_message",
	"invalid_handshake_state", "no_path_to_peer", "no_connector_available",
	"cannot_open_resource", "serialization_failed", "deserialization_failed",
	"wrong_magic_number", "redundant_connection", "logic_error",
	"invalid_json",
}

// Valid reports whether a version of Broker defines c.
func (c Code) Valid() bool { return c < numCodes }

// String returns Broker's name of c, such as "redundant_connection".
func (c Code) String() string {
	if !c.Valid() {
		return "code(" + strconv.Itoa(int(c)) + ")"
	}
	return codeNames[c]
}
