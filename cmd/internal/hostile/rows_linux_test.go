package hostile

import "slices"

// row is an attack on a port.
type row struct {
	attack string
	port   string // see cluster.target
	small  bool   // also in the small form of the suite
}

// stage is a cluster with its rows.
type stage struct {
	name     string
	tls      string   // mode of TLS at native ports, see modes
	settings []string // flags of the controller
	files    int      // limit of file descriptors of each process, 0 for none
	rows     []row
}

// stages are the clusters of the suite. Where the attacks are those of peers that may
// do everything by default, the settings are those that forbid it.
var stages = []stage{
	{"plain", "off", nil, 0, slices.Concat(
		on("controller", true, "giant frames", "random frames"),
		on("controller", false,
			"giant frames of fast peers", "large frames", "large frames of fast peers", "large values",
			"announced frames", "announced frames of many addresses", "announced frames beside subscribers", "giant handshakes", "half handshakes", "idle peers", "giant filters", "short topics",
			"filter updates", "pings", "damaged messages", "small values", "huge counts", "deep nesting", "endless handshakes"),
		on("controller", true, "requests without reading"),
		on("controller", false, clients...),
		on("controller", true, "agent takeover"),
		on("controller", false, "strangers", "strangers that come and go"),
		on("agent", true, "giant frames"),
		on("agent", false,
			"giant frames of fast peers", "large frames", "large frames of fast peers", "large values",
			"announced frames", "announced frames of many addresses", "announced frames beside subscribers", "giant handshakes", "half handshakes", "idle peers", "giant filters", "filter updates", "pings",
			"random frames", "damaged messages", "small values", "deep nesting", "forged responses", "strange values", "control characters", "publishes", "endless handshakes"),
		on("websocket", true, "silent connections", "idle clients", "fragmented messages", "strange JSON", "DNS rebinding", "forged responses", "control characters", "archives with tricks"),
		on("websocket", false, connections...),
		on("websocket", false,
			"silent clients", "clients that do not answer pings", "giant messages", "large messages", "large messages that are full",
			"giant messages before the subscriptions", "empty fragments", "messages that are full",
			"small JSON values", "deep JSON", "giant subscriptions", "WebSocket pings", "invalid frames", "compression", "upgrades", "application names"),
		on("websocket", false, clients...),
		on("websocket", false, "requests without reading", "zstd bombs", "many files", "endless uploads", "strange parts"),
		on("websocket", false, "huge headers", "huge request line", "huge bodies", "strange requests"),
		on("agent dials", false,
			"silent server", "half handshakes", "giant frames", "large frames of fast peers", "large values", "small values", "deep nesting", "giant filters", "filter updates",
			"pings", "random frames", "damaged messages", "requests of a controller", "large checks of a controller", "strange requests of a controller", "sites of a controller"),
		on("controller http", true, "slow headers"),
		on("controller http", false, "silent connections", "many silent connections", "half a request", "churn", "random bytes"),
		on("controller http", false, "huge headers", "huge request line", "huge bodies", "pipelined requests", "idle HTTP connections", "strange requests"),
		on("agent http", false, "silent connections", "slow headers", "pipelined requests", "idle HTTP connections"),
	)},
	{"named agents", "off", []string{"--allow-agents", instance}, 0, slices.Concat(
		on("controller", true, "agents with control characters"),
		on("controller", false, "many agents", "control characters"),
		on("websocket", false, "many agents", "agents with control characters"),
	)},
	{"TLS", "anonymous", nil, 0, slices.Concat(
		on("controller", true, "half a TLS hello"),
		on("controller", false, "silent connections", "many silent connections", "TLS records of one byte", "churn", "resets", "random bytes", "giant frames", "announced frames", "idle peers", "requests"),
		on("agent", false, "silent connections", "many silent connections", "half a TLS hello", "TLS records of one byte", "churn", "resets", "random bytes", "giant frames", "announced frames"),
	)},
	{"certificates and tokens", "mutual", nil, 0, slices.Concat(
		on("controller", true, "peers without certificates"),
		on("controller", false, "silent connections", "many silent connections", "half a TLS hello", "TLS records of one byte", "churn", "random bytes"),
		on("agent", false, "peers without certificates", "silent connections", "many silent connections", "half a TLS hello", "random bytes"),
		on("websocket", true, "guessed tokens"),
		on("websocket", false, "silent connections", "many silent connections", "half a TLS hello", "TLS records of one byte", "churn", "random bytes", "idle clients", "silent clients", "requests", "huge headers"),
	)},
	{"joined machines", "joined", nil, 0, slices.Concat(
		on("join", true, "slow bodies", "guessed secrets"),
		on("join", false, "silent connections", "many silent connections", "half a TLS hello", "TLS records of one byte", "churn", "resets", "random bytes",
			"bodies without end", "unread streams"),
		on("api", false, "guessed secrets", "silent connections", "many silent connections", "half a TLS hello", "random bytes", "slow bodies", "bodies without end", "unread streams"),
	)},
	{"open ports", "open", nil, 0, slices.Concat(
		on("websocket", true, "shared uploads"),
		on("websocket", false, "abandoned uploads", "endless uploads"),
		on("api", true, "unread streams"),
		on("api", false, "silent connections", "many silent connections", "slow headers", "slow bodies", "bodies without end", "huge headers", "huge request line",
			"pipelined requests", "idle HTTP connections", "strange requests", "slow streams", "streams that come and go", "DNS rebinding"),
		on("gateway", true, "unread streams"),
		on("gateway", false, connections...),
		on("gateway", false, "silent connections", "idle clients", "silent clients", "clients that do not answer pings", "slow readers", "slow streams", "streams that come and go", "largest filters", "giant subscriptions",
			"giant messages", "fragmented messages", "strange JSON", "WebSocket pings", "invalid frames", "compression", "upgrades", "application names", "DNS rebinding",
			"huge headers", "huge request line", "bodies without end", "strange requests"),
		on("gateway dials", false,
			"silent server", "half handshakes", "giant frames", "large frames of fast peers", "large values", "small values", "deep nesting", "announced frames", "giant filters", "filter updates",
			"pings", "random frames"),
	)},
	{"256 descriptors", "off", nil, 256, scarce(false)},
	{"64 descriptors", "off", nil, 64, scarce(true)},
}

// scarce returns the attacks that use up file descriptors.
func scarce(small bool) []row {
	return slices.Concat(
		on("controller", small, "idle peers"),
		on("controller", false, "many silent connections", "half handshakes", "endless handshakes"),
		on("agent", false, "many silent connections", "idle peers"),
		on("websocket", small, "many silent connections"),
		on("websocket", false, "idle clients", "silent clients", "upgrades", "many files"),
		on("controller http", false, "many silent connections", "idle HTTP connections"),
		on("agent http", false, "many silent connections"),
	)
}

// clients are attacks of clients, natively and over WebSockets.
var clients = []string{
	"requests", "unread responses", "dry runs", "checks", "large invalid configurations", "long texts", "publishes", "strange values", "timeouts",
}

// connections are attacks on a port for WebSockets by connections.
var connections = []string{
	"many silent connections", "half a TLS hello", "half a request", "slow headers", "churn", "resets", "random bytes",
}

// on returns the rows of attacks on a port.
func on(port string, small bool, attacks ...string) (rows []row) {
	for _, a := range attacks {
		rows = append(rows, row{a, port, small})
	}
	return rows
}
