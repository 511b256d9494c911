package admission

// manyDescriptors is the number of descriptors of a process without a limit.
const manyDescriptors = 1 << 20

// Descriptors returns the number of file descriptors that this process may have
// open. Limits of connections should leave some for files and other connections.
func Descriptors() int {
	n, ok := openFiles()
	if !ok || n > manyDescriptors {
		return manyDescriptors
	}
	return int(n)
}
