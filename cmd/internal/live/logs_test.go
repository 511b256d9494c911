package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// logScript logs a value of every type when it has a peer, and then makes Zeek
// read its capture.
const logScript = `
module Test;
export { redef enum Log::ID += { LOG }; }
type Inner: record { f: function(n: count) &log; i: file &log; };
type Info: record {
	b: bool &log; i: int &log; c: count &log; d: double &log; t: time &log; iv: interval &log;
	s: string &log; e: Log::ID &log; p: port &log; a4: addr &log; a6: addr &log;
	n4: subnet &log; n6: subnet &log; sc: set[string] &log; vs: vector of subnet &log;
	none: set[addr] &log; unset: string &log &optional; inner: Inner &log;
};
function named(n: count) { }
event zeek_init() {
	Log::create_stream(LOG, [$columns=Info, $path="test"]);
	suspend_processing();
	print Broker::listen("127.0.0.1", 0/tcp);
	flush_all();
}
event Broker::peer_added(endpoint: Broker::EndpointInfo, msg: string) {
	Log::write(LOG, Info($b=T, $i=-7, $c=42, $d=1.5, $t=double_to_time(1500000000.25), $iv=-90sec,
		$s="a\xff\x00b", $e=LOG, $p=53/udp, $a4=10.0.0.1, $a6=[2001:db8::1],
		$n4=10.0.0.0/8, $n6=[2001:db8::]/32, $sc=set("y", "x"), $vs=vector(192.168.0.0/16),
		$none=set(), $inner=[$f=named, $i=open("file.txt")]));
	continue_processing();
}
event Pcap::file_done(path: string) { terminate(); }
`

// logRow is the text form of the row that the script logs.
const logRow = `b=T i=-7 c=42 d=1.5 t=2017-07-14T02:40:00.25Z iv=-1m30s s="a\xff\x00b" e=Test::LOG p=53/udp ` +
	`a4=10.0.0.1 a6=2001:db8::1 n4=10.0.0.0/8 n6=2001:db8::/32 sc={"x", "y"} vs=[192.168.0.0/16] none={} ` +
	`inner.f="Test::named: function(n:count) : void\n;" inner.i="file.txt"`

// printedPort matches the port that the script prints.
var printedPort = regexp.MustCompile(`(?m)^(\d+)/tcp$`)

// TestLogRowsOfZeek checks that the log records that Zeek publishes match those
// in its files.
func TestLogRowsOfZeek(t *testing.T) {
	capture, err := os.ReadFile("../../../testdata/recordings/zeek-8.0.10-types/session.pcap")
	if err != nil {
		t.Fatal(err)
	}
	forEachZeek(t, func(t *testing.T, z *installation) {
		dir := t.TempDir()
		pcap, script := filepath.Join(dir, "session.pcap"), filepath.Join(dir, "test.zeek")
		if err := errors.Join(os.WriteFile(pcap, capture, 0o600), os.WriteFile(script, []byte(logScript), 0o600)); err != nil {
			t.Fatal(err)
		}
		zeek := start(t, "Zeek that logs", nil, append([]string{z.zeek, "-C", "-r", pcap, script, "Broker::disable_ssl=T"}, z.brokerBackend()...)...)
		var port []string
		eventually(t, "Zeek's port", func() error {
			if port = printedPort.FindStringSubmatch(zeek.out.tail(10)); port == nil {
				return fmt.Errorf("output is %q", zeek.out.tail(10))
			}
			return nil
		})
		rows := receive(t, "127.0.0.1:"+port[1])
		select {
		case <-zeek.done:
		case <-time.After(patience):
			t.Fatal("Zeek did not end")
		}
		// Zeek 5 does not write the type of the function.
		got := strings.Replace(fmt.Sprint(rows["Test::LOG"]), `"Test::named\n;"`, `"Test::named: function(n:count) : void\n;"`, 1)
		if got != "["+logRow+"]" {
			t.Errorf("got  %s\nwant [%s]", got, logRow)
		}
		text, err := os.ReadFile(filepath.Join(zeek.cmd.Dir, "conn.log"))
		if err != nil {
			t.Fatal(err)
		}
		if len(rows["Conn::LOG"]) == 0 {
			t.Error("no connection was logged")
		}
		for _, row := range rows["Conn::LOG"] {
			uid, _ := row.Get("uid").Text()
			if !strings.Contains(string(text), uid) {
				t.Errorf("not in conn.log: %v", row)
			}
		}
	})
}

// receive returns all log records that a Zeek publishes until it disconnects.
func receive(t *testing.T, address string) map[string][]logs.Row {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := peering.New(peering.Config{Subscriptions: []string{"zeek/logs/"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.AddPeer(address); err != nil {
		t.Fatal(err)
	}
	var catalog logs.Catalog
	rows := make(map[string][]logs.Row)
	var look func(broker.ZeekMessage)
	look = func(m broker.ZeekMessage) {
		switch m := m.(type) {
		case broker.LogCreate:
			if _, err := catalog.Add(m); err != nil {
				t.Error(err)
			}
		case broker.LogWrite:
			row, err := catalog.Row(m)
			if err != nil {
				t.Error(err)
				return
			}
			rows[m.Stream] = append(rows[m.Stream], row)
		case broker.Batch:
			for _, inner := range m {
				look(inner)
			}
		}
	}
	for {
		n, err := e.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch n := n.(type) {
		case broker.PeerLost:
			return rows
		case broker.Received:
			m, err := broker.ParseZeekMessage(n.Message.Value)
			if err != nil {
				t.Error(err)
				continue
			}
			look(m)
		}
	}
}
