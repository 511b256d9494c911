package controller

import (
	"slices"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// Check returns what a controller with these settings would refuse about c, in
// Zeek's words and order, for those who want to know before they send it.
func (s Settings) Check(c zeekapi.Configuration) []string {
	errs := s.validate(c)
	if len(errs) > 0 {
		return errs
	}
	c.Nodes = slices.Clone(c.Nodes)
	if err := s.assignPorts(&c); err != nil {
		return []string{err.Error()}
	}
	return nil
}
