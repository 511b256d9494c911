package main

import (
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/clusteragent"
	"github.com/zeekwire/zeekwire/zeekapi/management"
)

// dialects are those that our services speak, all at the same time.
func dialects() []*zeekapi.Dialect {
	return []*zeekapi.Dialect{
		management.Dialect(management.DefaultTopics),
		clusteragent.Dialect(clusteragent.DefaultTopics),
	}
}
