//go:build !linux

package zeek

import (
	"os/exec"

	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// memoryGroups limit the memory of nodes. Only Linux has them.
type memoryGroups struct{}

func findMemoryGroups(_, _ string) memoryGroups { return memoryGroups{} }

func (memoryGroups) enter(*exec.Cmd, launch.Node) (func(), error) { return func() {}, nil }

func (memoryGroups) leave(_ launch.Node, err error) error { return err }

func (memoryGroups) undo(*exec.Cmd) bool { return false }

// LimitMemory does nothing: the agent watches the memory of the node.
func (l *Launcher) LimitMemory(string, int64) {}
