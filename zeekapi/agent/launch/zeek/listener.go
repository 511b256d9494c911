package zeek

// Listener describes the program that listens at a TCP port of this machine, such as
// "nginx (process 47)", or "another program" if it is not known which. It returns "" if
// none does, or on systems other than Linux.
func Listener(port uint16) string { return listening(nil)[port] }
