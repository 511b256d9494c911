package simulated

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

// Traffic of nodes with an interface.
const (
	packetsPerSecond = 1000 // unless the scenario says otherwise
	bytesPerPacket   = 700
)

// figures returns the figures of a node, which receives packets at a constant rate and sees
// all other nodes except those that the scenario names.
func (n *node) figures(now time.Time) (string, error) {
	f := nodescript.Figures{Backend: zeekapi.BackendBroker, Nodes: []string{}}
	for _, m := range n.Members() {
		if m.Name == n.Name {
			continue
		}
		f.Others++
		if slices.Contains(n.unseen, m.Name) {
			f.Nodes = append(f.Nodes, m.Name)
		}
	}
	if n.Interface != "" {
		link := uint64(now.Sub(n.began).Seconds() * n.packets)
		f.Link, f.Dropped = link, uint64(float64(link)*n.drops)
		f.Received = f.Link - f.Dropped
		f.Bytes = f.Received * bytesPerPacket
	}
	text, err := json.Marshal(f)
	return string(text), err
}

// Scripts lists the scripts in the configuration of a node, and those that the scenario
// edits.
func (l *Launcher) Scripts(_ context.Context, name string, _ bool) (zeekapi.NodeScripts, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	if n == nil {
		return zeekapi.NodeScripts{}, launch.ErrNoScripts
	}
	edited := l.lives[name].starts == 1
	var s zeekapi.NodeScripts
	for _, path := range slices.Concat(n.Node.Scripts, n.edited) {
		if !zeekapi.IsScript(path) || slices.ContainsFunc(s.Scripts, func(l zeekapi.LoadedScript) bool { return l.Path == path }) {
			continue
		}
		hash := sha256.Sum256([]byte(path))
		s.Scripts = append(s.Scripts, zeekapi.LoadedScript{
			Path: path, Hash: hex.EncodeToString(hash[:]), Changed: edited && slices.Contains(n.edited, path),
		})
	}
	return s, nil
}

// parseRate parses a number of packets per second.
func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || !(rate >= 0 && rate <= 1e9) {
		return 0, errors.New("want a number of packets per second")
	}
	return rate, nil
}

// parseShare parses a percentage.
func parseShare(s string) (float64, error) {
	percent, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, errors.New("want a percentage such as 2.5%")
	}
	return percent / 100, nil
}
