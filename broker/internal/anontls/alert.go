package anontls

import "fmt"

// Alert is a TLS alert description (RFC 5246, section 7.2).
type Alert uint8

// The alerts that this package sends. Peers may send others.
const (
	CloseNotify          Alert = 0
	UnexpectedMessage    Alert = 10
	BadRecordMAC         Alert = 20
	RecordOverflow       Alert = 22
	HandshakeFailure     Alert = 40
	IllegalParameter     Alert = 47
	DecodeError          Alert = 50
	DecryptError         Alert = 51
	ProtocolVersion      Alert = 70
	InternalError        Alert = 80
	NoRenegotiation      Alert = 100
	UnsupportedExtension Alert = 110
)

var alertWords = map[Alert]string{
	CloseNotify:          "close notify",
	UnexpectedMessage:    "unexpected message",
	BadRecordMAC:         "bad record MAC",
	21:                   "decryption failed",
	RecordOverflow:       "record overflow",
	30:                   "decompression failure",
	HandshakeFailure:     "handshake failure",
	42:                   "bad certificate",
	43:                   "unsupported certificate",
	44:                   "certificate revoked",
	45:                   "certificate expired",
	46:                   "certificate unknown",
	IllegalParameter:     "illegal parameter",
	48:                   "unknown certificate authority",
	49:                   "access denied",
	DecodeError:          "decode error",
	DecryptError:         "decrypt error",
	ProtocolVersion:      "protocol version not supported",
	71:                   "insufficient security",
	InternalError:        "internal error",
	86:                   "inappropriate fallback",
	90:                   "user canceled",
	NoRenegotiation:      "no renegotiation",
	UnsupportedExtension: "unsupported extension",
	112:                  "unrecognized name",
	116:                  "certificate required",
	120:                  "no application protocol",
}

// String returns the description and number of the alert, such as "handshake
// failure (40)".
func (a Alert) String() string {
	words, ok := alertWords[a]
	if !ok {
		words = "alert"
	}
	return fmt.Sprintf("%s (%d)", words, uint8(a))
}

// AlertError reports that a fatal alert ended the connection.
type AlertError struct {
	Alert Alert

	// Received reports whether the peer sent the alert. If false, this end
	// sent it.
	Received bool

	// Reason describes the fault of the peer. It is empty if Received is true.
	Reason string
}

func (e *AlertError) Error() string {
	if e.Received {
		return fmt.Sprintf("anontls: the peer sent the alert %s", e.Alert)
	}
	return fmt.Sprintf("anontls: %s; sent the alert %s", e.Reason, e.Alert)
}

const (
	levelWarning = 1
	levelFatal   = 2
)

// level returns the level with which the alert is sent.
func (a Alert) level() byte {
	if a == CloseNotify || a == NoRenegotiation {
		return levelWarning
	}
	return levelFatal
}
