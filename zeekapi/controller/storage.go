package controller

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// storage knows whether changes can be stored. While they cannot be, the requests of
// clients that change the stored state are refused, and other changes wait in memory.
type storage struct {
	*outbox
	events *eventLog
	log    zerolog.Logger
	why    string // "": changes can be stored
	since  time.Time
}

// changed takes the news that changes cannot be stored because of why, or can be again
// if that is "".
func (s *storage) changed(why string) {
	if s.why == why {
		return
	}
	before := s.why
	s.why = why
	if why == "" {
		s.log.Info().Stringer("after", s.now.Sub(s.since).Round(time.Second)).Msg("changes can be stored again, and all have been stored")
		s.events.add(zeekapi.EventStorage, "", "", "changes can be stored again")
		return
	}
	if before == "" {
		s.since = s.now
	}
	s.log.Error().Str("reason", why).Msg("cannot store changes: they are refused until that is possible again")
	s.events.add(zeekapi.EventStorage, "", "", "changes cannot be stored: "+clip(why))
}

// available reports whether changes can be stored.
func (s *storage) available() bool { return s.why == "" }

// refusal returns the error of a request for a change.
func (s *storage) refusal() string { return "the controller cannot store changes now: " + s.why }
