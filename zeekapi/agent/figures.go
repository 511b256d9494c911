package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/agent/internal/proc"
	"github.com/zeekwire/zeekwire/zeekapi/agent/launch/nodescript"
)

const (
	// MinRatePeriod is the shortest time over which rates are computed. Measurements
	// that are younger than that are recent enough for every request.
	MinRatePeriod = time.Second

	// MeasureTimeout is the time that nodes have to report their measurements.
	MeasureTimeout = 1500 * time.Millisecond
)

type (
	// ReadInterfaces reads the counters of network interfaces. InterfacesRead follows.
	ReadInterfaces struct{ Names []string }

	// InterfacesRead reports the counters of the interfaces that exist, by name.
	InterfacesRead struct{ Traffic map[string]zeekapi.Traffic }

	// SpaceMeasured reports the space in Config.Directories.
	SpaceMeasured struct{ Directories []zeekapi.DirectorySpace }
)

func (ReadInterfaces) output() {}
func (InterfacesRead) input()  {}
func (SpaceMeasured) input()   {}

func init() { serve(zeekapi.AgentFiguresCall, (*Machine).getFigures) }

func (m *Machine) getFigures(now time.Time, req request, msg zeekapi.AgentFiguresRequest) {
	if why := m.refuses(req); why != "" {
		m.out.refuse(req, "%s", why)
		return
	}
	m.figures.ask(now, req, msg.MaxAge)
}

// figures measures nodes and interfaces, on request and from time to time.
type figures struct {
	*outbox
	nodes    *nodes
	endpoint string
	interval time.Duration // between measurements without a request; 0: none
	next     timer         // time of the next of them

	sent    uint64
	poll    *poll     // the present measurement; nil: none
	began   time.Time // of the latest one; zero: none
	waiting []request // that wait for poll

	interfaces  map[string]*series // by name
	directories []zeekapi.DirectorySpace
	cluster     cluster
}

// poll is a measurement that is under way.
type poll struct {
	id       string          // of the request to nodes
	waiting  map[string]bool // nodes that have not reported
	reading  bool            // interfaces are being read
	deadline time.Time
}

// start plans the first measurement without a request.
func (f *figures) start(now time.Time) {
	if f.interval > 0 {
		f.next.start(now.Add(f.interval))
	}
}

// ask responds to a request if there are measurements that are not older than maxAge, or
// else when the next one has ended.
func (f *figures) ask(now time.Time, req request, maxAge time.Duration) {
	if f.poll == nil && (f.began.IsZero() || now.Sub(f.began) > max(maxAge, MinRatePeriod)) {
		f.begin(now)
	}
	if f.poll == nil {
		f.answer(req)
		return
	}
	f.waiting = append(f.waiting, req)
}

// begin asks all running nodes for reports, except nodes that have refused, and reads the
// interfaces of all nodes.
func (f *figures) begin(now time.Time) {
	f.began = now
	p := &poll{waiting: make(map[string]bool), deadline: now.Add(MeasureTimeout)}
	var asked []string
	interfaces := make(map[string]bool)
	for _, name := range f.nodes.selected(nil) {
		if device, err := zeekapi.NetworkInterface(f.nodes.all[name].want.Interface); err == nil && device != "" {
			interfaces[device] = true
		}
		if f.nodes.alive(name) && !f.nodes.all[name].measured.mute {
			asked = append(asked, name)
			p.waiting[name] = true
		}
	}
	maps.DeleteFunc(f.interfaces, func(name string, _ *series) bool { return !interfaces[name] })
	if len(interfaces) > 0 {
		p.reading = true
		f.emit(ReadInterfaces{slices.Sorted(maps.Keys(interfaces))})
	}
	if len(asked) > 0 {
		f.sent++
		p.id = fmt.Sprintf("%s%s%d", f.endpoint, figuresInfix, f.sent)
		f.emit(Dispatch{Request: zeekapi.NodeDispatchRequest{ReqID: zeekapi.ReqID{ID: p.id}, Action: []string{nodescript.FiguresAction}, Nodes: asked}})
	}
	if p.reading || len(asked) > 0 {
		f.poll = p
	}
}

// figuresInfix is the part of request IDs that distinguishes requests for figures.
const figuresInfix = "-figures-"

// answered processes the response of a node, and reports whether it belongs to a measurement.
func (f *figures) answered(now time.Time, resp zeekapi.NodeDispatchResponse) bool {
	if !strings.HasPrefix(resp.ID, f.endpoint+figuresInfix) {
		return false
	}
	name, r := resp.Result.Node, resp.Result
	n := f.nodes.all[name]
	if n != nil {
		n.measured.unanswered = false // an answer that is late is one, too
	}
	if f.poll == nil || resp.ID != f.poll.id {
		return true
	}
	if n == nil || !f.poll.waiting[name] {
		return true
	}
	delete(f.poll.waiting, name)
	if !n.alive() {
		return true
	}
	text, isText := r.Data.Text()
	switch report, err := parseReport(text); {
	case !r.Success:
		n.measured.silent, n.measured.mute = "it cannot report figures: "+clip(r.Error), true
	case !isText:
		n.measured.silent = fmt.Sprintf("its report is a %s, want string", r.Data.Kind())
	case err != nil:
		n.measured.silent = err.Error()
	default:
		n.measured.silent = ""
		n.measured.connections = connections(f.cluster.of(n.have.Layout), name, report)
		n.measured.traffic.add(now, zeekapi.Traffic{Received: report.Received, Dropped: report.Dropped, Link: report.Link, Bytes: report.Bytes})
	}
	return true
}

// read processes the counters of interfaces.
func (f *figures) read(now time.Time, traffic map[string]zeekapi.Traffic) {
	for name, t := range traffic {
		if f.interfaces[name] == nil {
			f.interfaces[name] = &series{}
		}
		f.interfaces[name].add(now, t)
	}
	maps.DeleteFunc(f.interfaces, func(name string, _ *series) bool { _, ok := traffic[name]; return !ok })
	if f.poll != nil {
		f.poll.reading = false
	}
}

// expire ends a measurement, and begins the next one, when it is time to do so.
func (f *figures) expire(now time.Time) {
	if p := f.poll; p != nil {
		late := !now.Before(p.deadline)
		for name := range p.waiting {
			switch {
			case !f.nodes.alive(name):
			case late:
				f.nodes.all[name].measured.unanswered = true
				f.nodes.all[name].measured.silent = fmt.Sprintf("it did not answer within %s", MeasureTimeout)
			default:
				continue
			}
			delete(p.waiting, name)
		}
		if late || f.complete() {
			f.finish()
		}
	}
	if f.next.due(now) {
		f.start(now)
		if f.poll == nil {
			f.begin(now)
		}
	}
}

// complete reports whether the present measurement waits for nothing.
func (f *figures) complete() bool {
	return f.poll != nil && len(f.poll.waiting) == 0 && !f.poll.reading
}

// finish ends a measurement, and responds to the requests that wait for it.
func (f *figures) finish() {
	f.poll = nil
	for _, req := range f.waiting {
		f.answer(req)
	}
	f.waiting = nil
}

func (f *figures) answer(req request) {
	r := f.success(req.id)
	r.Data = f.data()
	f.respond(req, r)
}

func (f *figures) data() broker.Value {
	return mustMarshal(zeekapi.InstanceFigures{
		Instance: f.instance, Nodes: f.nodes.details(), Interfaces: f.traffic(), Directories: f.directories,
	})
}

// traffic returns the traffic at the interfaces, sorted by name.
func (f *figures) traffic() []zeekapi.InterfaceTraffic {
	var all []zeekapi.InterfaceTraffic
	for _, name := range slices.Sorted(maps.Keys(f.interfaces)) {
		all = append(all, zeekapi.InterfaceTraffic{Name: name, Traffic: *f.interfaces[name].latest()})
	}
	return all
}

func (f *figures) deadline() timer {
	next := f.next
	if f.poll != nil {
		next.earlier(f.poll.deadline)
	}
	return next
}

func (f *figures) check() error {
	switch p := f.poll; {
	case p == nil && len(f.waiting) > 0:
		return fmt.Errorf("%d requests wait for no measurement", len(f.waiting))
	case p != nil && len(p.waiting) == 0 && !p.reading:
		return fmt.Errorf("the measurement %q waits for nothing", p.id)
	}
	return nil
}

// readInterfaces performs ReadInterfaces.
func readInterfaces(out ReadInterfaces) []Input {
	return []Input{InterfacesRead{proc.Interfaces(out.Names)}}
}
