package attack

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/record"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// serving attacks clients, by a server in place of a controller. They are for
// targets that connect.
var serving = []Attack{
	{"silent server", "a server that accepts connections and says nothing", func(a *attacker) { a.serve("", "") }},
	{"endless response headers", "a server whose HTTP response has headers without end", func(a *attacker) {
		a.serve("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("b", 1000)+"\r\n")
	}},
	{"endless header", "a server whose HTTP response has a header without end", func(a *attacker) {
		a.serve("HTTP/1.1 200 OK\r\nX-A: ", strings.Repeat("b", 1000))
	}},
	{"endless response body", "a server whose HTTP response has a body without end", func(a *attacker) {
		a.serve("HTTP/1.1 500 x\r\n\r\n", strings.Repeat("b", 1000))
	}},
	{"control characters in an HTTP response", "a server whose HTTP response has control characters", func(a *attacker) {
		a.serve("HTTP/1.1 401 "+oneLine+"\r\nServer: "+oneLine+"\r\nLocation: "+oneLine+"\r\nContent-Length: 300\r\n\r\n"+strings.Repeat(Forgery, 10), "")
	}},
	{"redirection", "a server that redirects clients elsewhere", func(a *attacker) {
		a.serve("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "")
	}},
	{"random response", "a server that sends bytes without end", func(a *attacker) { a.serve("", "\x00\x01\xff\xfe random \x1b[2J") }},
	{"no acknowledgement", "a server that does not answer subscriptions", func(a *attacker) {
		a.upgrades(func(s *server) { a.hold(s.conn()) })
	}},
	{"messages before the acknowledgement", "a server that sends messages without end before its acknowledgement", func(a *attacker) {
		a.upgrades(func(s *server) { a.repeat(s.conn(), s.frame(foreignResponse())) })
	}},
	{"responses to others", "a server that sends responses to other requests without end", func(a *attacker) {
		a.webServer(func(s *server) { a.repeat(s.conn(), s.frame(foreignResponse())) })
	}},
	{"errors without end", "a server that reports errors without end", func(a *attacker) {
		a.webServer(func(s *server) {
			a.repeat(s.conn(), s.frame(jsonv1.Append(nil, jsonv1.Error{Code: Forgery, Context: Forgery})))
		})
	}},
	{"pings of a server", "a server that sends pings without end", func(a *attacker) {
		a.webServer(func(s *server) { a.repeat(s.conn(), append([]byte{0x89, 125}, make([]byte, 125)...)) })
	}},
	{"fragments of a server", "a server that sends a message in fragments without end", func(a *attacker) {
		a.webServer(func(s *server) {
			s.conn().Write([]byte{1, 0})
			a.repeat(s.conn(), append([]byte{0, 125}, make([]byte, 125)...))
		})
	}},
	{"events without end", "a server that reports events without end", func(a *attacker) {
		a.webServer(func(s *server) { a.repeat(s.conn(), s.frame(eventText())) })
	}},
	{"control characters in responses", "a server whose responses have control characters", func(a *attacker) {
		a.answering(zeekapi.Result{Instance: Forgery, Node: Forgery, Error: Forgery}, zeekapi.Result{Error: Forgery})
	}},
	{"giant responses", "a server whose responses have texts of 60 MB", func(a *attacker) {
		a.answering(zeekapi.Result{Instance: instanceName, Error: strings.Repeat("\x1b[2J", 15<<20/4)})
	}},
	{"too large responses", "a server whose responses are larger than clients accept", func(a *attacker) {
		a.answering(zeekapi.Result{Instance: instanceName, Error: strings.Repeat("x", 70<<20)})
	}},
	{"many results", "a server whose responses have 200000 results", func(a *attacker) {
		many := make([]zeekapi.Result, 200_000)
		for i := range many {
			many[i] = zeekapi.Result{Instance: instanceName, Node: fmt.Sprint("node-", i), Error: "x"}
		}
		a.answering(many...)
	}},
	{"large clusters", "a server whose responses describe a cluster of 50000 nodes", func(a *attacker) { a.respondingWith(largeCluster(50_000)) }},
	{"deep results", "a server whose results are nested", func(a *attacker) {
		v := broker.Vector()
		for range 100 {
			v = broker.Vector(v)
		}
		a.answering(zeekapi.Result{Success: true, Instance: instanceName, Data: v})
	}},
	{"dribbled responses", "a server whose messages arrive one byte at a time", func(a *attacker) {
		a.webServer(func(s *server) {
			for _, b := range s.frame(foreignResponse()) {
				if _, err := s.conn().Write([]byte{b}); err != nil || !a.wait(100*time.Millisecond) {
					return
				}
				a.did()
			}
			a.hold(s.conn())
		})
	}},
}

const instanceName = "instance-1"

// oneLine is Forgery within a line.
var oneLine = strings.NewReplacer("\r", "", "\n", "").Replace(Forgery)

// serve accepts connections, sends them a text, and then another one without end.
// If that is empty, it holds the connection.
func (a *attacker) serve(first, further string) {
	a.crowd(8, func(int) {
		c := a.tcp()
		if c == nil {
			return
		}
		defer c.Close()
		if first == "" && further == "" {
			a.hold(c)
			return
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		c.Read(make([]byte, 4<<10))
		c.Write([]byte(first))
		a.did()
		if further != "" {
			a.repeat(c, []byte(further))
		}
		c.SetReadDeadline(time.Time{})
		a.hold(c)
	})
}

// server is a WebSocket to a client.
type server struct{ ws *websocket.Conn }

func (s *server) conn() net.Conn { return s.ws.NetConn() }

// frame returns a frame with a text.
func (*server) frame(text []byte) []byte {
	b := header(true, websocket.TextMessage, len(text))
	b[1] &^= 0x80 // a server does not mask
	return append(b[:len(b)-4], text...)
}

// upgrades calls act for each client that upgrades its connection.
func (a *attacker) upgrades(act func(*server)) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	handler := func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		a.did()
		act(&server{ws})
	}
	s := http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: dialTimeout}
	go func() {
		<-a.ctx.Done()
		s.Close()
	}()
	s.Serve(a.listener)
}

// webServer is like upgrades, and acknowledges the subscriptions of the client.
func (a *attacker) webServer(act func(*server)) {
	a.upgrades(func(s *server) {
		if _, _, err := s.ws.ReadMessage(); err != nil {
			return
		}
		s.conn().Write(s.frame(jsonv1.Append(nil, jsonv1.Ack{Endpoint: Forgery, Version: Forgery})))
		act(s)
	})
}

// answering answers all requests of clients with these results.
func (a *attacker) answering(results ...zeekapi.Result) {
	a.respondingWith(func(zeekapi.Message) []zeekapi.Result { return results })
}

// respondingWith answers all requests of clients with the results that the function
// returns.
func (a *attacker) respondingWith(results func(request zeekapi.Message) []zeekapi.Result) {
	a.webServer(func(s *server) {
		for {
			_, text, err := s.ws.ReadMessage()
			if err != nil {
				return
			}
			if answer := respond(text, results); answer != nil {
				s.conn().SetWriteDeadline(time.Time{}) // the response to a ping has set one
				if _, err := s.conn().Write(s.frame(answer)); err != nil {
					return
				}
				a.did()
			}
		}
	})
}

// respond returns the response to a request, or nil if the text is no request.
func respond(text []byte, results func(request zeekapi.Message) []zeekapi.Result) []byte {
	f, err := jsonv1.Decode(text)
	data, ok := f.(jsonv1.Data)
	if err != nil || !ok {
		return nil
	}
	ev, err := broker.ParseEvent(data.Value)
	if err != nil {
		return nil
	}
	d := stock
	m, err := d.Decode(ev)
	if err != nil {
		d = own
		if m, err = d.Decode(ev); err != nil {
			return nil
		}
	}
	response, err := d.Encode(zeekapi.RequestOf(m).Respond(m.RequestID(), results(m)...))
	if err != nil {
		return nil
	}
	return jsonv1.Append(nil, jsonv1.Data{Topic: d.Topics.Controller, Value: response.Value()})
}

// largeCluster returns a function that returns results about a cluster of n nodes.
func largeCluster(n int) func(request zeekapi.Message) []zeekapi.Result {
	config := zeekapi.Configuration{ID: "large", Instances: []zeekapi.Instance{{Name: instanceName, Host: netip.IPv4Unspecified()}}}
	one := zeekapi.InstanceStatus{Instance: config.Instances[0], Connected: true, Wanted: true, Ready: true}
	past := zeekapi.Deployment{Number: 1, Config: config.ID, Started: time.Now(), Outcome: zeekapi.OutcomePending}
	var nodes []zeekapi.NodeStatus
	var each []zeekapi.Result
	var events []zeekapi.ClusterEvent
	for i := range n {
		s := zeekapi.NodeStatus{
			Node: fmt.Sprint("node-", n-i), State: zeekapi.StatePending, ManagementRole: zeekapi.ManagementNone, ClusterRole: zeekapi.RoleWorker,
		}
		nodes = append(nodes, s)
		config.Nodes = append(config.Nodes, zeekapi.Node{Name: s.Node, Instance: instanceName, Role: s.ClusterRole, State: s.State})
		one.Nodes = append(one.Nodes, zeekapi.NodeDetail{Status: s})
		each = append(each, zeekapi.Result{Instance: instanceName, Node: s.Node, Error: "x"})
		past.Errors = append(past.Errors, s.Node+": x")
		events = append(events, zeekapi.ClusterEvent{Number: uint64(i), Time: time.Now(), Kind: zeekapi.EventState, Instance: instanceName, Node: s.Node, Text: "PENDING"})
	}
	data := func(v any) []zeekapi.Result {
		out, err := record.Marshal(v)
		check(err)
		return []zeekapi.Result{{Success: true, Instance: instanceName, Data: out}}
	}
	answers := map[reflect.Type][]zeekapi.Result{
		reflect.TypeFor[zeekapi.GetNodesRequest]():         data(nodes),
		reflect.TypeFor[zeekapi.GetInstancesRequest]():     data(config.Instances),
		reflect.TypeFor[zeekapi.GetConfigurationRequest](): data(config),
		reflect.TypeFor[zeekapi.GetPastRequest]():          data(config),
		reflect.TypeFor[zeekapi.StatusRequest]():           data(zeekapi.Status{Instances: []zeekapi.InstanceStatus{one}}),
		reflect.TypeFor[zeekapi.HistoryRequest]():          data([]zeekapi.Deployment{past}),
		reflect.TypeFor[zeekapi.EventsRequest]():           data(events),
	}
	return func(request zeekapi.Message) []zeekapi.Result {
		if results, ok := answers[reflect.TypeOf(request)]; ok {
			return results
		}
		return each
	}
}

// foreignResponse returns a response without a request: its ID is unknown to all clients.
func foreignResponse() []byte {
	ev, err := stock.Encode(zeekapi.GetNodesResponse{ReqID: newID(), Results: []zeekapi.Result{{Instance: Forgery, Error: Forgery}}})
	check(err)
	return jsonv1.Append(nil, jsonv1.Data{Topic: stock.Topics.Controller, Value: ev.Value()})
}

// eventText returns the report of an event.
func eventText() []byte {
	ev, err := own.Encode(zeekapi.EventReport{Event: zeekapi.ClusterEvent{Time: time.Now(), Text: Forgery, Instance: Forgery, Node: Forgery}})
	check(err)
	return jsonv1.Append(nil, jsonv1.Data{Topic: own.Topics.Events, Value: ev.Value()})
}
