package connect

import "time"

// On a busy machine even a server of the same process may take a while to greet.
func init() { greetingTime = 2 * time.Second }
