package etcdstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi/peertest"
)

// page is a response of a controller's HTTP server.
type page struct {
	*http.Response
	text string
}

// patient limits the time of steps of tests over HTTP.
const patient = 5 * time.Minute

// fetch sends an HTTP request without following redirects.
func (s *site) fetch(method, url, body string) (page, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return page{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return page{resp, string(text)}, err
}

// until waits for a response with a status.
func (s *site) until(status int, method, url, body string) page {
	s.t.Helper()
	for deadline := time.Now().Add(patient); ; time.Sleep(100 * time.Millisecond) {
		p, err := s.fetch(method, url, body)
		if err == nil && p.StatusCode == status {
			return p
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s %s: %+v, %v, want status %d", method, url, p, err, status)
		}
	}
}

// follow reads events until the stream ends, and returns the last ID and the last line with
// data. It calls began after the first event.
func (s *site) follow(url, after string, began func(id string) bool) (last, data string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Last-Event-ID", after)
	resp, err := http.DefaultClient.Do(r) // which follows redirects
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("the stream of %s: %s", url, resp.Status)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			if last = id; !began(id) {
				return last, data
			}
		}
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = text
		}
	}
	return last, data
}

// startWithHTTP starts two controllers and an agent, and returns the URLs of the controllers.
func startWithHTTP(t *testing.T) (s *site, urls []string) {
	t.Helper()
	s = startSite(t, 1, 0)
	for i := range 2 {
		address := peertest.FreeAddress(t)
		s.controller(i, "--http-listen", address)
		urls = append(urls, "http://"+address)
	}
	s.agent("a1", s.controllers...)
	return s, urls
}

// TestHTTPOfStandby serves the API and the console of two controllers. The one that stands by
// answers from the stored state with its age, and redirects the rest, also commands. When the
// leader steps down, streams continue at the next leader without a gap.
func TestHTTPOfStandby(t *testing.T) {
	s, urls := startWithHTTP(t)
	first, _, _ := s.leader(0, s.controllers...)
	leader, other := urls[0], urls[1]
	if first == s.controllers[1] {
		leader, other = other, leader
	}
	s.deploy(first, "one")

	p := s.until(http.StatusTemporaryRedirect, http.MethodGet, other+"/api/v1/nodes", "")
	if to := p.Header.Get("Location"); to != leader+"/api/v1/nodes" {
		t.Errorf("nodes lead to %q, want %s", to, leader)
	}
	s.until(http.StatusOK, http.MethodGet, p.Header.Get("Location"), "")
	p = s.until(http.StatusTemporaryRedirect, http.MethodPost, other+"/api/v1/nodes/restart", `{"nodes":["w"]}`)
	if to := p.Header.Get("Location"); to != leader+"/api/v1/nodes/restart" || !strings.Contains(p.text, `"leader":{"name":"`) {
		t.Errorf("a restart leads to %q: %s", to, p.text)
	}
	for deadline := time.Now().Add(patient); ; time.Sleep(200 * time.Millisecond) { // it reads the state each second
		p := s.until(http.StatusOK, http.MethodGet, other+"/api/v1/deployments", "")
		if p.Header.Get("Age") == "" {
			t.Errorf("the history at a controller that stands by has the headers %v", p.Header)
		}
		if strings.Contains(p.text, `"deployed"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the history at a controller that stands by: %s", p.text)
		}
	}
	if p := s.until(http.StatusOK, http.MethodGet, leader+"/api/v1/deployments", ""); p.Header.Get("Age") != "" {
		t.Errorf("the history of the leader has an age: %v", p.Header)
	}
	for deadline := time.Now().Add(patient); ; time.Sleep(200 * time.Millisecond) {
		p := s.until(http.StatusOK, http.MethodGet, other+"/", "")
		if strings.Contains(p.text, "This controller stands by.") && strings.Contains(p.text, `<a href="`+leader+`/">`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the console of a controller that stands by: %s", p.text)
		}
	}
	if out, err := s.ask(&process{clients: other}, "get-nodes"); err != nil || !strings.Contains(out, `"a1"`) {
		t.Errorf("a command at a controller that stands by: %s, %v", out, err)
	}
	s.streamContinues(leader, other)
}

// streamContinues reads a stream of the leader, which then steps down, and continues it at the
// former leader, which redirects it.
func (s *site) streamContinues(leader, other string) {
	s.t.Helper()
	until(s.t, "the leader knows the other controller", func() bool { return len(s.controllersAt(leader).Members) == 2 })
	stepped := false
	last, reason := s.follow(leader, "0", func(string) bool {
		if !stepped {
			stepped = true
			if p, err := s.fetch(http.MethodPost, leader+"/api/v1/controllers/step-down", ""); err != nil || p.StatusCode != http.StatusOK {
				s.t.Errorf("step-down: %s, %v", p.text, err)
			}
		}
		return true
	})
	if !strings.Contains(reason, "stands by") && !strings.Contains(reason, "number") {
		s.t.Errorf("the stream ended after %s", reason)
	}
	s.until(http.StatusTemporaryRedirect, http.MethodGet, leader+"/api/v1/nodes", "")
	var next uint64
	resumed, _ := s.follow(leader, last, func(string) bool { return false })
	if _, err := fmt.Sscan(resumed, &next); err != nil {
		s.t.Fatal(err)
	}
	var before uint64
	if _, err := fmt.Sscan(last, &before); err != nil || next != before+1 {
		s.t.Errorf("event %s is followed by %s", last, resumed)
	}
	if all := s.controllersAt(other); !all.Leads || len(all.Members) != 2 || all.Members[0].HTTP != other {
		s.t.Errorf("the controllers are %+v", all)
	}
}

// controllersJSON is a part of the JSON of the controllers.
type controllersJSON struct {
	Leads   bool
	Members []struct{ Name, HTTP string }
}

// controllersAt returns the controllers that a controller knows.
func (s *site) controllersAt(url string) (all controllersJSON) {
	s.t.Helper()
	p := s.until(http.StatusOK, http.MethodGet, url+"/api/v1/controllers", "")
	if err := json.Unmarshal([]byte(p.text), &all); err != nil {
		s.t.Fatalf("the controllers are %s, %v", p.text, err)
	}
	return all
}
