package controller

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// staging validates and keeps configurations that clients upload.
type staging struct {
	settings Settings
	configs  *configurations
	agents   *agents
	members  *members
	requests *requests
	events   *eventLog
	log      zerolog.Logger
}

func (s *staging) stageConfiguration(by broker.Peer, req zeekapi.StageConfigurationRequest) {
	if !s.configs.stagedIs(req.Replaces) {
		s.requests.answer(by, req, zeekapi.Failure(req.ID, zeekapi.ErrorReplaced))
		return
	}
	s.requests.answer(by, req, s.stage(by, req.ID, req.Config)...)
}

// stage validates c and keeps it, also with ports filled in. Which ports are free
// depends on the addresses, but those are filled in when agents get the
// configuration, because they can change.
func (s *staging) stage(by broker.Peer, reqID string, c zeekapi.Configuration) []zeekapi.Result {
	ready, errs := s.prepare(c)
	if len(errs) > 0 {
		return failures(reqID, errs)
	}
	s.warnOfPrefixes(c)
	s.configs.save(Staged, s.configs.revise(c))
	s.configs.save(Ready, s.configs.revise(ready))
	s.log.Info().Str("by", nameOf(by)).Str("request", reqID).Str("config", clip(c.ID)).Msg("staged")
	s.events.add(zeekapi.EventStaged, "", "", "configuration "+clip(c.ID)+" by "+nameOf(by))
	return []zeekapi.Result{{ReqID: reqID, Success: true, Data: broker.String(c.ID)}}
}

// warnOfPrefixes logs the instances of c that would be confused if an agent that is
// not connected yet were Zeek's own. Results have no place for such a remark: clients
// of Zeek take the data of a successful one for the ID of the configuration.
func (s *staging) warnOfPrefixes(c zeekapi.Configuration) {
	instances, _ := namesOf(c.Instances, func(i zeekapi.Instance) string { return i.Name })
	unknown := func(name string) bool { return s.agents.of(name) == nil }
	for _, pair := range prefixes(sortedKeys(instances), unknown) {
		s.log.Warn().Str("instance", clip(pair.name)).Str("prefix", clip(pair.prefix)).
			Msg("the name of an instance begins with another's; if the agent of that is Zeek's own, it obeys requests for both")
	}
}

// prepare returns c with ports, or its errors.
func (s *staging) prepare(c zeekapi.Configuration) (ready zeekapi.Configuration, errs []string) {
	if errs := s.settings.validate(c, s.agents.isZeeks); len(errs) > 0 {
		return ready, errs
	}
	filled := s.members.fillHosts(c)
	filled.Nodes = slices.Clone(c.Nodes)
	s.keepPorts(c, filled.Nodes)
	if err := s.settings.assignPorts(&filled, nil); err != nil {
		return ready, []string{err.Error()}
	}
	ready = c
	ready.Nodes = filled.Nodes
	return ready, nil
}

// keepPorts gives nodes, those of c, the ports that they were assigned before, if the
// configuration that was staged last would be assigned the same ports as c. So a
// node that had to take another port keeps it when that is free again.
func (s *staging) keepPorts(c zeekapi.Configuration, nodes []zeekapi.Node) {
	staged, ok := s.configs.get(Staged)
	if !ok || !samePorts(staged.Configuration, c) {
		return
	}
	ready, _ := s.configs.get(Ready)
	former := nodesByName(ready.Configuration)
	for i := range nodes {
		n, before := &nodes[i], former[nodes[i].Name]
		if s.settings.AssignBrokerPorts && n.Port == (broker.Port{}) && before.Port.Number >= s.settings.BrokerStartPort {
			n.Port = before.Port
		}
		if s.settings.AssignMetricsPorts && n.MetricsPort == (broker.Port{}) && before.MetricsPort.Number >= s.settings.MetricsStartPort {
			n.MetricsPort = before.MetricsPort
		}
	}
}

func (s *staging) getConfiguration(by broker.Peer, req zeekapi.GetConfigurationRequest) {
	slot := Staged
	if req.Deployed {
		slot = Deployed
	}
	result := zeekapi.Failure(req.ID, "no %s configuration available", slot)
	if r, ok := s.configs.get(slot); ok {
		result = successWith(req.ID, r.Configuration)
	}
	s.requests.answer(by, req, result)
}

// dryRun responds with the changes that deploying a configuration would make.
func (s *staging) dryRun(by broker.Peer, req zeekapi.DryRunRequest) {
	ready, errs := s.prepare(req.Config)
	if len(errs) > 0 {
		s.requests.answer(by, req, failures(req.ID, errs)...)
		return
	}
	d := diff(s.members.fillHosts(s.configs.target().Configuration), s.members.fillHosts(ready))
	for _, i := range ready.Instances {
		if s.agents.of(i.Name) == nil {
			d.Missing = append(d.Missing, i.Name)
		}
	}
	slices.Sort(d.Missing)
	s.requests.answer(by, req, successWith(req.ID, d))
}
