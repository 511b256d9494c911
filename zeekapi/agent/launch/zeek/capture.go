package zeek

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch"
)

// capNetRaw is the capability that capturing packets from a network interface needs.
// (Linux: CAP_NET_RAW)
const capNetRaw = 13

// privileges are those of a process that decide whether the programs that it starts may
// capture packets.
type privileges struct {
	root     bool
	ambient  bool // has the capability, and passes it on
	bounded  bool // the capability is not in the bounding set
	noneNew  bool // programs gain no privileges when they start
	fileCaps func(path string) ([]byte, error)
}

// currentPrivileges returns the privileges of this process. Tests replace it.
var currentPrivileges = ownPrivileges

// checkCapture returns an error if the node needs to capture packets from a network
// interface, and its process certainly may not.
func (l *Launcher) checkCapture(n launch.Node) error {
	if device, err := zeekapi.NetworkInterface(n.Interface); err != nil || device == "" {
		return nil
	}
	return currentPrivileges().forbid(l.zeek().binary)
}

// forbid returns the reason why a process of the program may not capture packets, or nil
// if it may or that is not known.
func (p privileges) forbid(program string) error {
	const denied = "not allowed to capture packets: "
	info, err := os.Stat(program)
	switch {
	case err != nil || p.ambient:
		return nil
	case p.bounded:
		return errors.New(denied + "the capability cap_net_raw is not available in this container or service; add it to those, with cap_net_admin")
	case p.root || interpreted(program):
		return nil // a script may call sudo
	case !p.noneNew && info.Mode()&fs.ModeSetuid != 0:
		return nil // it belongs to root, or its owner is unknown
	}
	if caps, err := p.fileCaps(program); err == nil && permits(caps) && !p.noneNew {
		return nil
	}
	if p.noneNew {
		return errors.New(denied + "the agent is not root, and may not start programs with more privileges (NoNewPrivileges); give it the ambient capabilities cap_net_raw and cap_net_admin")
	}
	return fmt.Errorf(denied+"the agent is not root, and %s has no capabilities; run \"setcap cap_net_raw,cap_net_admin=eip %[1]s\" as root", program)
}

// permits reports whether the extended attribute security.capability has the capability
// (Linux: struct vfs_cap_data).
func permits(attribute []byte) bool {
	return len(attribute) >= 8 && binary.LittleEndian.Uint32(attribute[4:])&(1<<capNetRaw) != 0
}

// interpreted reports whether a program is a script, whose interpreter decides about
// capabilities.
func interpreted(program string) bool {
	f, err := os.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	first := make([]byte, 2)
	_, err = io.ReadFull(f, first)
	return err == nil && bytes.Equal(first, []byte("#!"))
}
