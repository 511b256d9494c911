package recording

// LimitLines sets the maximum length of a line, in bytes.
func (r *Reader) LimitLines(n int) { r.max = n }
