package recording

// LimitLines sets the maximum length of a line, in bytes.
func (r *Reader) LimitLines(n int) { r.max = n }

// SetMaxBuffered sets the limit of buffered bytes and returns the former one.
func SetMaxBuffered(n int64) int64 {
	old := maxBuffered
	maxBuffered = n
	return old
}

// BufferedBytes returns the bytes that are buffered in all Recorders.
func BufferedBytes() int64 { return buffered.Load() }
