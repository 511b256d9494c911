package clientcmd

import (
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// This file has the JSON output of the commands that zeek-client does not have.
// Users rely on the keys: keys may be added, but not changed or removed.

const (
	jsonHelp = "\n\nIn JSON, times are in RFC 3339 and UTC, and unknown values are null."

	ageHelp = `
If a controller that stands by has answered, the key age has the age of its
state in seconds.`

	deploymentHelp = `number, config (its ID), action ("deploy", "force",
"partial", "rollback", "set-configuration"), by, started, ended, outcome
("pending", "deployed", "failed", "timeout", "superseded", "lost", "refused",
"rolled back") and errors (a list)`

	jobHelp = "number, by, started, ended, error, and the lists of nodes done, now and next"

	eventHelp = `number, time, kind ("connected", "lost", "state", "error",
"log", "staged", "deploying", "deployed", "drained", "undrained", "job",
"storage", "problem", "solved", "alert", "resolved"), instance, node and text`

	statusHelp = `

The JSON has the keys controller (name, version, started), staged, deployed and
target (IDs of configurations), last_deployment (keys as for history), job
(keys as for rolling-restart), and instances, by name, each with host, port,
connected, since, wanted, ready, drained, dialects, agent (name, version,
started), zeek (a version), last_error, refused (addresses of other agents with
its name), problems (a list with kind, node, subject, text and since),
directories (a list as in df; missing if unknown), and nodes, by name, each with
state, cluster_role, mgmt_role, pid, port, metrics_port, since, restarts, cpu
(processors in use), memory (bytes), last_error, edited (files that the node has
loaded, and that changed since), stopped_by (the client that stopped it, at the
time since; only if the node is stopped), ` + figuresHelp + `
The key traffic has the sums of all nodes, or null. The controller is null if
it is Zeek's. If the controller cannot store changes, storage_error says why.
The key exposure has ports, a list with purpose, address, tls and peers (a list
with who, may, and commands, which is true if they may change what runs), and
warnings. With several controllers, there are the keys controllers (a list, the
leader first, with name, version, clients, agents and http, which are addresses,
leads, since and behind, the number of changes that it has not read), term (of
the leader) and, if the controller stands by, as_of (the time of its state).` + ageHelp

	diffHelp = `

The JSON has the keys from and to (IDs of configurations), instances and nodes
(lists with name, kind, fields and line; kind is "added", "removed", "changed"
or "kept"; fields is a list with field, old, new and line), missing (instances
whose agents are not connected), edited (a list of the kept nodes that restart
because their scripts changed, with node, instance and files), and site, which
is null if the site does not change. Otherwise it has the keys from and to (IDs
of sites), and files, a list with path, kind, diff (a unified diff of a changed
text file) and note. A line is that of FILE from which a value comes, or null.` + ageHelp
)

type processView struct {
	Name    string     `json:"name"`
	Version string     `json:"version"`
	Started *time.Time `json:"started"`
}

type nodeView struct {
	State       zeekapi.State           `json:"state"`
	MgmtRole    *zeekapi.ManagementRole `json:"mgmt_role"`
	ClusterRole *zeekapi.ClusterRole    `json:"cluster_role"`
	PID         *int64                  `json:"pid"`
	Port        *uint16                 `json:"port"`
	MetricsPort *uint16                 `json:"metrics_port"`
	Since       *time.Time              `json:"since"`
	Restarts    uint64                  `json:"restarts"`
	CPU         *float64                `json:"cpu"`
	Memory      *uint64                 `json:"memory"`
	LastError   *string                 `json:"last_error"`
	Edited      []string                `json:"edited"`
	Threads     *uint64                 `json:"threads"`
	Files       *uint64                 `json:"files"`
	Started     *time.Time              `json:"started"`
	Interface   *string                 `json:"interface"`
	Traffic     *trafficView            `json:"traffic"`
	Connections *connectionsView        `json:"connections"`
	Silent      *string                 `json:"silent"`
	StoppedBy   *string                 `json:"stopped_by,omitempty"`
}

type instanceView struct {
	Host      *string             `json:"host"`
	Port      *uint16             `json:"port"`
	Connected bool                `json:"connected"`
	Since     *time.Time          `json:"since"`
	Wanted    bool                `json:"wanted"`
	Ready     bool                `json:"ready"`
	Drained   bool                `json:"drained"`
	Dialects  []string            `json:"dialects"`
	Agent     *processView        `json:"agent"`
	Zeek      *string             `json:"zeek"`
	LastError *string             `json:"last_error"`
	Refused   []string            `json:"refused"`
	Problems  []problemView       `json:"problems"`
	Disks     []spaceView         `json:"directories,omitempty"`
	Nodes     map[string]nodeView `json:"nodes"`
}

type problemView struct {
	Kind    string     `json:"kind"`
	Node    *string    `json:"node"`
	Subject *string    `json:"subject"`
	Text    string     `json:"text"`
	Since   *time.Time `json:"since"`
}

type deploymentView struct {
	Number  uint64          `json:"number"`
	Config  string          `json:"config"`
	Action  string          `json:"action"`
	By      string          `json:"by"`
	Started *time.Time      `json:"started"`
	Ended   *time.Time      `json:"ended"`
	Outcome zeekapi.Outcome `json:"outcome"`
	Errors  []string        `json:"errors"`
}

type jobView struct {
	Number  uint64     `json:"number"`
	By      string     `json:"by"`
	Started *time.Time `json:"started"`
	Ended   *time.Time `json:"ended"`
	Done    []string   `json:"done"`
	Now     []string   `json:"now"`
	Next    []string   `json:"next"`
	Error   *string    `json:"error"`
}

type statusView struct {
	Controller     *processView            `json:"controller"` // null for Zeek's controller
	Staged         *string                 `json:"staged"`
	Deployed       *string                 `json:"deployed"`
	Target         *string                 `json:"target"`
	LastDeployment *deploymentView         `json:"last_deployment"`
	Job            *jobView                `json:"job"`
	Instances      map[string]instanceView `json:"instances"`
	StorageError   *string                 `json:"storage_error"` // why changes are refused
	Exposure       *exposureView           `json:"exposure"`      // null if the controller does not report it
	Traffic        *trafficView            `json:"traffic"`       // of all nodes together; null if none is measured

	// Only of several controllers.
	Controllers []controllerView `json:"controllers,omitempty"`
	Term        uint64           `json:"term,omitempty"`
	AsOf        *time.Time       `json:"as_of,omitempty"`
	ageView
}

type exposureView struct {
	Ports    []exposedPortView `json:"ports"`
	Warnings []string          `json:"warnings"`
}

type exposedPortView struct {
	Purpose string             `json:"purpose"`
	Address string             `json:"address"`
	TLS     string             `json:"tls"`
	Peers   []exposedPeersView `json:"peers"`
}

type exposedPeersView struct {
	Who      string `json:"who"`
	May      string `json:"may"`
	Commands bool   `json:"commands"`
}

type fieldChangeView struct {
	Field string `json:"field"`
	Old   string `json:"old"`
	New   string `json:"new"`
	Line  *int   `json:"line"`
}

type changeView struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"`
	Fields []fieldChangeView `json:"fields"`
	Line   *int              `json:"line"`
}

type diffView struct {
	From      *string      `json:"from"`
	To        string       `json:"to"`
	Instances []changeView `json:"instances"`
	Nodes     []changeView `json:"nodes"`
	Missing   []string     `json:"missing"`
	Edited    []editedView `json:"edited"`

	Site *siteDiffView `json:"site"`
	ageView
}

type editedView struct {
	Node     string   `json:"node"`
	Instance string   `json:"instance"`
	Files    []string `json:"files"`
}

type eventView struct {
	Number   uint64     `json:"number"`
	Time     *time.Time `json:"time"`
	Kind     string     `json:"kind"`
	Instance *string    `json:"instance"`
	Node     *string    `json:"node"`
	Text     string     `json:"text"`
}

// orNullTime returns a time in UTC, or nil for the zero time.
func orNullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// list converts all elements of a slice. The result is never nil, so that it is a
// list in JSON.
func list[T, V any](all []T, convert func(T) V) []V {
	views := make([]V, len(all))
	for i, v := range all {
		views[i] = convert(v)
	}
	return views
}

// names returns a copy of a list that is never nil.
func names(all []string) []string { return list(all, func(s string) string { return s }) }

func newProcessView(p zeekapi.Process) *processView {
	if p.Name == "" && p.Version == "" {
		return nil
	}
	return &processView{p.Name, p.Version, orNullTime(p.Started)}
}

func newNodeView(n zeekapi.NodeDetail) nodeView {
	v := nodeView{
		State: n.Status.State, PID: orNull(n.Status.PID),
		Port: orNull(n.Status.Port.Number), MetricsPort: orNull(n.Status.MetricsPort.Number),
		Since: orNullTime(n.Since), Restarts: n.Restarts, CPU: orNull(finite(n.CPU)), Memory: orNull(n.Memory),
		LastError: orNull(n.LastError), Edited: names(n.Edited),
		Threads: orNull(n.Threads), Files: orNull(n.Files), Started: orNullTime(n.Started), Interface: orNull(n.Interface),
		Traffic: newTrafficView(n.Traffic), Connections: newConnectionsView(n.Connections), Silent: orNull(n.Silent),
		StoppedBy: orNull(n.StoppedBy),
	}
	if n.Status.ManagementRole != zeekapi.ManagementNone {
		v.MgmtRole = &n.Status.ManagementRole
	}
	if n.Status.ClusterRole != zeekapi.RoleNone {
		v.ClusterRole = &n.Status.ClusterRole
	}
	return v
}

func newProblemView(p zeekapi.Problem) problemView {
	return problemView{p.Kind, orNull(p.Node), orNull(p.Subject), p.Text, orNullTime(p.Since)}
}

func newInstanceView(i zeekapi.InstanceStatus) instanceView {
	v := instanceView{
		Port: orNull(i.Instance.Port.Number), Connected: i.Connected, Since: orNullTime(i.Since),
		Wanted: i.Wanted, Ready: i.Ready, Drained: i.Drained, Dialects: names(i.Dialects),
		Agent: newProcessView(i.Agent), Zeek: orNull(i.Zeek), LastError: orNull(i.LastError), Refused: names(i.Refused), Problems: list(i.Problems, newProblemView),
		Disks: list(i.Directories, func(d zeekapi.DirectorySpace) spaceView {
			return newSpaceView(space{"agent", i.Instance.Name, d})
		}),
		Nodes: make(map[string]nodeView, len(i.Nodes)),
	}
	if i.Instance.Host.IsValid() && !i.Instance.Host.IsUnspecified() {
		host := i.Host().String()
		v.Host = &host
	}
	for _, n := range i.Nodes {
		v.Nodes[n.Status.Node] = newNodeView(n)
	}
	return v
}

func newDeploymentView(d zeekapi.Deployment) deploymentView {
	return deploymentView{
		d.Number, d.Config, d.Action, d.By, orNullTime(d.Started), orNullTime(d.Ended), d.Outcome, names(d.Errors),
	}
}

func newJobView(j zeekapi.Job) jobView {
	return jobView{
		j.Number, j.By, orNullTime(j.Started), orNullTime(j.Ended), names(j.Done), names(j.Now), names(j.Next), orNull(j.Error),
	}
}

func newStatusView(s zeekapi.Status) statusView {
	v := statusView{
		Controller: newProcessView(s.Controller),
		Staged:     orNull(s.Staged), Deployed: orNull(s.Deployed), Target: orNull(s.Target),
		Instances: make(map[string]instanceView, len(s.Instances)), StorageError: orNull(s.Storage),
		Term: s.Term, AsOf: orNullTime(s.AsOf), ageView: newAgeView(s.AsOf, time.Now()),
	}
	if len(s.Controllers) > 0 {
		v.Controllers = list(s.Controllers, newControllerView)
	}
	if s.Last != nil {
		last := newDeploymentView(*s.Last)
		v.LastDeployment = &last
	}
	if s.Job != nil {
		job := newJobView(*s.Job)
		v.Job = &job
	}
	for _, i := range s.Instances {
		v.Instances[i.Instance.Name] = newInstanceView(i)
	}
	if t := trafficOf(nodesOf(s)); t.Rates != nil || !t.Measured.IsZero() {
		v.Traffic = newTrafficView(&t)
	}
	if s.Exposure != nil {
		v.Exposure = newExposureView(*s.Exposure)
	}
	return v
}

func newExposureView(e zeekapi.Exposure) *exposureView {
	return &exposureView{
		Warnings: names(e.Warnings),
		Ports: list(e.Ports, func(p zeekapi.ExposedPort) exposedPortView {
			return exposedPortView{p.Purpose, p.Address, p.TLS, list(p.Peers, func(p zeekapi.ExposedPeers) exposedPeersView { return exposedPeersView(p) })}
		}),
	}
}

func newChangeView(c placedChange) changeView {
	fields := make([]fieldChangeView, len(c.Fields))
	for i, f := range c.Fields {
		fields[i] = fieldChangeView{f.Field, f.Old, f.New, orNull(c.fields[i])}
	}
	return changeView{c.Name, c.Kind, fields, orNull(c.line)}
}

func newDiffView(d differences, age ageView) diffView {
	return diffView{
		orNull(d.From), d.To,
		list(d.Instances, func(c zeekapi.Change) changeView { return newChangeView(d.placedInstance(c)) }),
		list(d.Nodes, func(c zeekapi.Change) changeView { return newChangeView(d.placedNode(c)) }), names(d.Missing),
		list(d.edited, newEditedView), newSiteDiffView(d.site), age,
	}
}

func newEditedView(n editedNode) editedView { return editedView{n.node, n.instance, names(n.files)} }

func newEventView(n zeekapi.ClusterEvent) eventView {
	return eventView{n.Number, orNullTime(n.Time), n.Kind, orNull(n.Instance), orNull(n.Node), n.Text}
}
