package httpapi

// Flood publishes updates that no controller has sent.
func Flood(s *Server, n int) {
	for range n {
		s.hub.publish(Update{Summary: new(Summary)})
	}
}

// LoseReader ends the server's own connection for events, as if it had not kept up.
func LoseReader(s *Server) {
	_ = s.steady.present().Close()
}
