package fleet

// Waiting returns how many polls wait.
func (s *Server) Waiting() int { return s.handler.Waiting() }
