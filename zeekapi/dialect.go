package zeekapi

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/record"
)

// API is a group of events that share a family of topics.
type API uint8

// The groups.
const (
	ControllerAPI API = iota // between clients and the controller
	AgentAPI                 // between the controller and agents
	NodeAPI                  // between an agent and its nodes
	SupervisorAPI            // between Zeek's Supervisor and an agent
	EventAPI                 // from the controller to all subscribers
)

// Topics are the topics of a dialect. The topic of an agent is AgentPrefix, a slash
// and the agent's name. All agents share the topic Agents. An empty topic means that the
// dialect has no messages for it.
type Topics struct {
	Controller, AgentPrefix, Agents, Node, Supervisor, Events string
}

// Agent returns the topic of an agent.
func (t Topics) Agent(name string) string { return t.AgentPrefix + "/" + name }

// AgentName is the inverse of Agent.
func (t Topics) AgentName(topic string) (name string, ok bool) {
	return strings.CutPrefix(topic, t.AgentPrefix+"/")
}

// Declaration declares the event that represents one type of message in a dialect.
type Declaration struct {
	Event string // qualified name
	API   API
	Since string // first version of Zeek with this event and these arguments

	message   reflect.Type
	args      func() []record.Field // described at the first use, because programs use few events of a dialect
	marshal   func(Message) (any, error)
	unmarshal func(broker.Value) (Message, error)
}

// Declare returns the declaration of the message M whose fields are the arguments of
// the event.
func Declare[M Message](event string, api API, since string) Declaration {
	return DeclareAs(event, api, since,
		func(m M) (M, error) { return m, nil },
		func(m M) (M, error) { return m, nil })
}

// DeclareAs returns the declaration of the message M, which travels as the
// arguments W. It is for dialects whose records differ from those of the model.
func DeclareAs[M Message, W any](event string, api API, since string, to func(M) (W, error), from func(W) (M, error)) Declaration {
	return Declaration{
		Event: event, API: api, Since: since,
		message: reflect.TypeFor[M](),
		args:    sync.OnceValue(func() []record.Field { return record.TypeOf[W]().Fields }),
		marshal: func(m Message) (any, error) { return to(m.(M)) },
		unmarshal: func(v broker.Value) (Message, error) {
			var w W
			if err := record.Unmarshal(v, &w); err != nil {
				return nil, err
			}
			return from(w)
		},
	}
}

// Dialect translates between messages and events. Its methods may be called
// concurrently.
type Dialect struct {
	Name   string
	Topics Topics

	// Extensible permits events with more arguments than declared, from a later version
	// of the dialect. Decode ignores these arguments.
	Extensible bool

	// Records are the types of data that travel as Zeek's any, by their names
	// in Zeek.
	Records map[string]record.Type

	declarations []Declaration
	byEvent      map[string]*Declaration
	byMessage    map[reflect.Type]*Declaration
}

// NewDialect returns a dialect of these declarations. It panics if two declare
// the same event or message.
func NewDialect(name string, topics Topics, declarations ...Declaration) *Dialect {
	d := &Dialect{
		Name: name, Topics: topics, declarations: declarations,
		byEvent:   make(map[string]*Declaration, len(declarations)),
		byMessage: make(map[reflect.Type]*Declaration, len(declarations)),
	}
	for i := range declarations {
		decl := &declarations[i]
		if d.byEvent[decl.Event] != nil || d.byMessage[decl.message] != nil {
			panic("zeekapi: dialect " + name + " declares " + decl.Event + " twice")
		}
		d.byEvent[decl.Event] = decl
		d.byMessage[decl.message] = decl
	}
	return d
}

// Args returns the arguments of the event. It panics if package record does not support
// their types.
func (d Declaration) Args() []record.Field { return d.args() }

// Modules are the modules of a dialect's events, each with a final "::". A
// dialect lacks the groups that are not in the map.
type Modules map[API]string

// NewRegistered returns the dialect of that name, with all registered requests
// and one-way messages that have a form in it. It panics if one of them belongs to
// a group without a module. Messages that travel with other
// arguments than their own fields need a Conversion.
func NewRegistered(name string, topics Topics, modules Modules, converted ...Conversion) *Dialect {
	c := make(conversions, len(converted))
	for _, conv := range converted {
		c[conv.message] = conv
	}
	var all []Declaration
	add := func(api API, forms []Form, declare declareFunc) {
		if f, ok := formIn(forms, name); ok {
			if modules[api] == "" {
				panic("zeekapi: dialect " + name + " has " + f.Event + ", but no module for its API")
			}
			all = append(all, declare(f, modules[api], c)...)
		}
	}
	for _, r := range registry.requests {
		add(r.API, r.Forms, r.declare)
	}
	for _, e := range registry.oneWay {
		add(e.api, e.forms, e.declare)
	}
	return NewDialect(name, topics, all...)
}

// Conversion tells how a message travels in a dialect whose records differ from
// those of the model.
type Conversion Declaration

// Convert returns the Conversion of the message M to the arguments W and back.
func Convert[M Message, W any](to func(M) (W, error), from func(W) (M, error)) Conversion {
	return Conversion(DeclareAs("", 0, "", to, from))
}

type conversions map[reflect.Type]Conversion

// declaration returns d, converted if there is a conversion for its message.
func (c conversions) declaration(d Declaration) Declaration {
	conv, ok := c[d.message]
	if !ok {
		return d
	}
	conv.Event, conv.API, conv.Since = d.Event, d.API, d.Since
	return Declaration(conv)
}

// Declarations returns all declarations, in an order that does not change.
func (d *Dialect) Declarations() []Declaration { return d.declarations }

// ErrUnknown is wrapped by errors about events and messages that are not part of a
// dialect.
var ErrUnknown = errors.New("not in this dialect")

// Has reports whether m can be encoded in the dialect.
func (d *Dialect) Has(m Message) bool { return d.byMessage[reflect.TypeOf(m)] != nil }

// Encode returns m as an event.
func (d *Dialect) Encode(m Message) (broker.Event, error) {
	decl := d.byMessage[reflect.TypeOf(m)]
	if decl == nil {
		return broker.Event{}, fmt.Errorf("zeekapi: %T: %w (%s)", m, ErrUnknown, d.Name)
	}
	wire, err := decl.marshal(m)
	if err != nil {
		return broker.Event{}, fmt.Errorf("zeekapi: %s: %w", decl.Event, err)
	}
	args, err := record.Marshal(wire)
	if err != nil {
		return broker.Event{}, fmt.Errorf("zeekapi: %s: %w", decl.Event, err)
	}
	ev := broker.Event{Name: decl.Event, Args: make([]broker.Value, args.Len())}
	for i := range ev.Args {
		ev.Args[i] = args.At(i)
	}
	return ev, nil
}

// required returns the number of arguments without extensions.
func (d *Declaration) required() int {
	args := d.args()
	n := len(args)
	for n > 0 && args[n-1].Extension {
		n--
	}
	return n
}

// Decode returns the message that ev represents. Like Zeek, it requires the exact
// number of arguments, extensions aside, unless the dialect is Extensible. It accepts
// records with additional fields. It returns ErrUnknown, wrapped, if the dialect does
// not have the event, and another error if the arguments do not fit.
func (d *Dialect) Decode(ev broker.Event) (Message, error) {
	decl := d.byEvent[ev.Name]
	if decl == nil {
		return nil, fmt.Errorf("zeekapi: event %.80q: %w (%s)", ev.Name, ErrUnknown, d.Name)
	}
	if n := len(ev.Args); n > len(decl.args()) && !d.Extensible || n < decl.required() {
		return nil, fmt.Errorf("zeekapi: event %s has %d arguments, want %d", ev.Name, n, len(decl.args()))
	}
	m, err := decl.unmarshal(broker.Vector(ev.Args...))
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", ev.Name, err)
	}
	return m, nil
}
