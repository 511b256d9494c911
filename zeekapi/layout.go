package zeekapi

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"github.com/zeekwire/zeekwire/broker"
)

// Member is the part of a node's configuration that the other nodes of its cluster
// know.
type Member struct {
	Name        string
	Role        ClusterRole
	Host        netip.Addr
	Port        broker.Port // zero: does not listen
	MetricsPort broker.Port // zero: serves no metrics
}

// Members returns the members of the cluster in the order of c.Nodes. It returns an
// error if a node is on an instance that c does not contain.
func (c Configuration) Members() ([]Member, error) {
	hosts := make(map[string]netip.Addr, len(c.Instances))
	for _, i := range c.Instances {
		if _, again := hosts[i.Name]; !again {
			hosts[i.Name] = i.Host
		}
	}
	members := make([]Member, len(c.Nodes))
	for i, n := range c.Nodes {
		host, ok := hosts[n.Instance]
		if !ok {
			return nil, fmt.Errorf("node %s is on instance %q, which is not in the configuration", n.Name, n.Instance)
		}
		members[i] = Member{Name: n.Name, Role: n.Role, Host: host, Port: n.Port, MetricsPort: n.MetricsPort}
	}
	return members, nil
}

// Layout lists all members of a cluster as text: one line per member, sorted by
// name, with name, role, host, port and metrics port. A "-" stands for a missing
// value. Two clusters have equal layouts if and only if they have equal members.
//
// The layout is sent to every agent. It stays text so that components that only
// forward it need not parse it: parsing it everywhere would cost time quadratic in
// the size of the cluster.
type Layout string

// NewLayout returns the layout of a cluster. It returns an error if two members have
// the same name, or if a member has an invalid name, an unknown role or a port of an
// unknown protocol.
func NewLayout(members []Member) (Layout, error) {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	var b strings.Builder
	previous := ""
	for _, m := range members {
		if err := m.check(); err != nil {
			return "", err
		}
		if m.Name == previous {
			return "", fmt.Errorf("two nodes have the name %s", m.Name)
		}
		previous = m.Name
		b.WriteString(m.Name)
		b.WriteByte(' ')
		b.WriteString(string(m.Role))
		b.WriteByte(' ')
		if m.Host.IsValid() {
			b.WriteString(m.Host.WithZone("").String()) // Zeek has no zones
		} else {
			b.WriteString(nothing)
		}
		for _, p := range []broker.Port{m.Port, m.MetricsPort} {
			b.WriteByte(' ')
			if p == (broker.Port{}) {
				b.WriteString(nothing)
			} else {
				b.WriteString(p.String())
			}
		}
		b.WriteByte('\n')
	}
	return Layout(b.String()), nil
}

// check returns an error if m cannot be in a layout.
func (m Member) check() error {
	if err := CheckName(m.Name); err != nil {
		return fmt.Errorf("node %w", err)
	}
	if !m.Role.Valid() {
		return fmt.Errorf("node %s has the unknown role %q", m.Name, m.Role)
	}
	if !m.Port.Protocol.Valid() || !m.MetricsPort.Protocol.Valid() {
		return fmt.Errorf("node %s has a port of unknown protocol", m.Name)
	}
	return nil
}

// nothing stands for a missing value.
const nothing = "-"

// Members parses the layout. Errors name the line. The members share memory with
// the text.
func (l Layout) Members() ([]Member, error) {
	members := make([]Member, 0, strings.Count(string(l), "\n"))
	previous := ""
	for line := range strings.Lines(string(l)) {
		m, err := parseMember(line)
		if err == nil && m.Name <= previous {
			err = fmt.Errorf("%s does not come after %s", m.Name, previous)
		}
		if err != nil {
			return nil, fmt.Errorf("zeekapi: layout: line %d: %w", len(members)+1, err)
		}
		previous = m.Name
		members = append(members, m)
	}
	return members, nil
}

// HasRole reports whether a member has the role. It does not parse the layout.
func (l Layout) HasRole(role ClusterRole) bool {
	return strings.Contains(string(l), " "+string(role)+" ") // only the second word of a line can be a role
}

// Member returns the member of that name. It parses only that line, which it finds by
// bisection.
func (l Layout) Member(name string) (Member, error) {
	if err := CheckName(name); err != nil {
		return Member{}, fmt.Errorf("node %w", err)
	}
	// The line begins in text[from:to], at from or after a newline, if it exists.
	text := string(l)
	for from, to := 0, len(text); from < to; {
		middle := from + (to-from)/2
		start := from + strings.LastIndexByte(text[from:middle], '\n') + 1
		end := start + strings.IndexByte(text[start:], '\n') + 1
		if end <= start {
			end = len(text) // it is incomplete
		}
		line := text[start:end]
		found, _, _ := strings.Cut(line, " ")
		switch cmp.Compare(name, found) {
		case 0:
			return parseMember(line)
		case -1:
			to = start
		default:
			from = end
		}
	}
	return Member{}, fmt.Errorf("node %s is not in the layout of its cluster", name)
}

func parseMember(line string) (m Member, err error) {
	line, complete := strings.CutSuffix(line, "\n")
	if !complete {
		return m, errors.New("line is incomplete")
	}
	field := func() string {
		var f string
		f, line, _ = strings.Cut(line, " ")
		return f
	}
	m.Name, m.Role = field(), ClusterRole(field())
	if err := m.check(); err != nil {
		return m, err
	}
	if host := field(); host != nothing {
		if m.Host, err = netip.ParseAddr(host); err != nil {
			return m, err
		}
	}
	for _, p := range []*broker.Port{&m.Port, &m.MetricsPort} {
		if text := field(); text != nothing {
			if *p, err = broker.ParsePort(text); err != nil {
				return m, err
			}
		}
	}
	if line != "" {
		return m, fmt.Errorf("unexpected %q at the end", line)
	}
	return m, nil
}

// PackedLayout is a layout compressed as an S2 block, the form in which it is sent.
// For a thousand nodes it has a third of the size of the text.
type PackedLayout string

// LayoutForm is the version of the format of a PackedLayout and of the request that
// contains it. An agent that reads another version gets a whole configuration, like
// Zeek's agents, so that machines can be upgraded one at a time.
const LayoutForm = 2

// MaxLayoutSize is the largest size of an unpacked layout, in bytes.
const MaxLayoutSize = 16 << 20

// Pack compresses l.
func (l Layout) Pack() PackedLayout { return PackedLayout(s2.EncodeBetter(nil, []byte(l))) }

// ID identifies the content of p. It is the SHA-256 checksum of p, in hexadecimal.
func (p PackedLayout) ID() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(p))) }

// Unpack decompresses p, without parsing the layout. It returns an error if the
// layout is larger than MaxLayoutSize.
func (p PackedLayout) Unpack() (Layout, error) {
	block := []byte(p)
	size, err := s2.DecodedLen(block)
	if err != nil {
		return "", fmt.Errorf("zeekapi: layout: %w", err)
	}
	if size > MaxLayoutSize {
		return "", fmt.Errorf("zeekapi: layout: %d bytes, limit is %d", size, MaxLayoutSize)
	}
	text, err := s2.Decode(nil, block)
	if err != nil {
		return "", fmt.Errorf("zeekapi: layout: %w", err)
	}
	return Layout(text), nil
}
