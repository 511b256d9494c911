package logs_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
	"github.com/zeekwire/zeekwire/broker/peering"
)

// script logs every type there is once it has a peer, and then lets Zeek read
// its capture.
const script = `
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

// want is the row of the script by the names of its fields, in their text form.
const want = `b=T i=-7 c=42 d=1.5 t=2017-07-14T02:40:00.25Z iv=-1m30s s="a\xff\x00b" e=Test::LOG p=53/udp ` +
	`a4=10.0.0.1 a6=2001:db8::1 n4=10.0.0.0/8 n6=2001:db8::/32 sc={"x", "y"} vs=[192.168.0.0/16] none={} ` +
	`inner.f="Test::named: function(n:count) : void\n;" inner.i="file.txt"`

// TestLogRowsOfZeek receives the logs of every Zeek whose prefix is in the environment
// variable ZEEK, separated by commas.
func TestLogRowsOfZeek(t *testing.T) {
	if os.Getenv("ZEEK") == "" {
		t.Skip("NOT TESTED AGAINST A LIVE PEER: the environment variable ZEEK names no Zeek")
	}
	capture, err := filepath.Abs("../../testdata/recordings/zeek-8.0.10-types/session.pcap")
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range strings.Split(os.Getenv("ZEEK"), ",") {
		t.Run(strings.TrimPrefix(filepath.Base(prefix), "zeek-"), func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "test.zeek")
			if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			zeek := exec.CommandContext(t.Context(), filepath.Join(prefix, "bin", "zeek"),
				"-C", "-r", capture, file, "Broker::disable_ssl=T")
			zeek.Dir, zeek.Stderr = dir, t.Output()
			stdout, err := zeek.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := zeek.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("zeek says no port: %v", err)
			}
			port, _, _ := strings.Cut(line, "/")
			rows := receive(t, "127.0.0.1:"+port)
			if err := zeek.Wait(); err != nil {
				t.Fatal(err)
			}
			// Zeek 5 does not give the function's type.
			got := strings.Replace(fmt.Sprint(rows["Test::LOG"]), `"Test::named\n;"`, `"Test::named: function(n:count) : void\n;"`, 1)
			if got != "["+want+"]" {
				t.Errorf("got  %s\nwant [%s]", got, want)
			}
			file = filepath.Join(dir, "conn.log")
			text, err := os.ReadFile(file)
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
}

// receive returns all log records of a Zeek until it is gone.
func receive(t *testing.T, address string) map[string][]logs.Row {
	e, err := peering.New(peering.Config{Subscriptions: []string{"zeek/logs/"}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.Dial(address); err != nil {
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
		n, err := e.Next(t.Context())
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
