package recording

// LimitLines lowers the limit on the length of lines.
func (r *Reader) LimitLines(n int) { r.max = n }
