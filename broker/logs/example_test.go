package logs_test

import (
	"fmt"
	"log"

	"github.com/zeekwire/zeekwire/broker"
	"github.com/zeekwire/zeekwire/broker/logs"
)

// A Catalog stores the stream announcements of a peer, and decodes the records
// of these streams.
func ExampleCatalog() {
	var catalog logs.Catalog
	receive := func(m broker.ZeekMessage) {
		switch m := m.(type) {
		case broker.LogCreate:
			if _, err := catalog.Add(m); err != nil {
				log.Fatal(err)
			}
		case broker.LogWrite:
			row, err := catalog.Row(m)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(row.Stream.Path, row.Get("uid"))
			fmt.Println(row)
		}
	}

	// These messages stand in for those that a broker.Bus receives.
	column := func(name string, t logs.Type) broker.Value {
		return broker.Vector(broker.String(name), broker.None(), broker.Count(uint64(t)), broker.Count(0), broker.Boolean(false))
	}
	receive(broker.LogCreate{
		Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", WriterInfo: broker.Vector(broker.String("conn")),
		Fields: broker.Vector(column("uid", logs.TypeString), column("orig_pkts", logs.TypeCount)),
	})
	receive(broker.LogWrite{
		Stream: "Conn::LOG", Writer: "Log::WRITER_ASCII", Path: "conn", Data: "\x00\x00\x00\x02" +
			"\x00\x00\x00\x07\x00\x00\x00\x00\x01\x00\x00\x00\x03Cx7" +
			"\x00\x00\x00\x03\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x2a",
	})
	// Output:
	// conn "Cx7"
	// uid="Cx7" orig_pkts=42
}
