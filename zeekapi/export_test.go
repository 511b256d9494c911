package zeekapi

import "reflect"

// MessageType returns the type of the messages that d declares.
func MessageType(d Declaration) reflect.Type { return d.message }
