package alerts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/terminal"
	"github.com/zeekwire/zeekwire/zeekapi"
)

// Message is a notification as it is sent. The same message may arrive twice, with the same
// ID, if a channel does not know whether it arrived.
type Message struct {
	ID      string // random
	Cluster string // name of the controller
	Notification
}

// Subject returns one line that says what the message is about.
func (m Message) Subject() string {
	prefix := fmt.Sprintf("[zeekwire %s] ", terminal.Safe(m.Cluster))
	var parts []string
	count := func(n int, word string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	switch {
	case m.Test:
		return prefix + "test notification"
	case len(m.Firing) == 1 && len(m.Resolved) == 0:
		return prefix + terminal.Safe(m.Firing[0].Text)
	case len(m.Resolved) == 1 && len(m.Firing) == 0:
		return prefix + "resolved: " + terminal.Safe(m.Resolved[0].Text)
	}
	count(len(m.Firing), "alerts")
	count(len(m.Resolved), "resolved")
	return prefix + strings.Join(parts, ", ")
}

// Text returns the message as lines of plain text.
func (m Message) Text() string {
	var b strings.Builder
	if m.Test {
		fmt.Fprintf(&b, "This is a test notification of the controller %s. There is no alert.\n", terminal.Safe(m.Cluster))
	}
	section := func(title string, alerts []zeekapi.Alert, line func(zeekapi.Alert) string) {
		if len(alerts) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", title)
		for _, a := range alerts {
			fmt.Fprintf(&b, "  %-13s  %s; %s%s\n", a.Rule, terminal.Safe(a.Text), line(a), repeatedly(a))
		}
		b.WriteString("\n")
	}
	title := "Alerts"
	if m.Repeated {
		title = "Alerts that are still present"
	}
	section(title, m.Firing, func(a zeekapi.Alert) string { return "since " + stamp(a.Since) })
	section("Resolved", m.Resolved, func(a zeekapi.Alert) string { return stamp(a.Since) + " to " + stamp(a.Ended) })
	if m.More > 0 {
		fmt.Fprintf(&b, "and %d more\n\n", m.More)
	}
	fmt.Fprintf(&b, "Controller %s, %s\n", terminal.Safe(m.Cluster), stamp(m.Time))
	return b.String()
}

func repeatedly(a zeekapi.Alert) string {
	if a.Times < 2 {
		return ""
	}
	return fmt.Sprintf(", %d times", a.Times)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// jsonMessage is the JSON form of a message. Fields are only added to it.
type jsonMessage struct {
	Version  int         `json:"version"` // 1
	ID       string      `json:"id"`
	Time     string      `json:"time"`
	Cluster  string      `json:"cluster"`
	Status   string      `json:"status"` // "firing", "resolved", "repeated" or "test"
	Subject  string      `json:"subject"`
	Firing   []jsonAlert `json:"firing"`
	Resolved []jsonAlert `json:"resolved"`
	More     int         `json:"more"` // alerts that are not listed
}

type jsonAlert struct {
	Rule     string `json:"rule"`
	Instance string `json:"instance,omitempty"`
	Node     string `json:"node,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Text     string `json:"text"`
	Since    string `json:"since"`
	Ended    string `json:"ended,omitempty"`
	Times    uint64 `json:"times"` // how often it began since the last notification
}

// JSON returns the message as JSON. Text that is not UTF-8 is replaced.
func (m Message) JSON() []byte {
	b, err := json.Marshal(jsonMessage{
		Version: 1, ID: m.ID, Time: stamp(m.Time), Cluster: m.Cluster, Status: m.status(), Subject: m.Subject(),
		Firing: jsonAlerts(m.Firing), Resolved: jsonAlerts(m.Resolved), More: m.More,
	})
	if err != nil {
		panic(fmt.Sprintf("alerts: %v", err)) // it has only strings and numbers
	}
	return b
}

func (m Message) status() string {
	switch {
	case m.Test:
		return "test"
	case m.Repeated:
		return "repeated"
	case len(m.Firing) > 0:
		return "firing"
	}
	return "resolved"
}

func jsonAlerts(alerts []zeekapi.Alert) []jsonAlert {
	list := []jsonAlert{}
	for _, a := range alerts {
		j := jsonAlert{Rule: a.Rule, Instance: a.Instance, Node: a.Node, Subject: a.Subject, Text: a.Text, Since: stamp(a.Since), Times: cmp.Or(a.Times, 1)}
		if !a.Ended.IsZero() {
			j.Ended = stamp(a.Ended)
		}
		list = append(list, j)
	}
	return list
}
