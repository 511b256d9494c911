// Package admission decides which connections a listener keeps when peers open
// more than it can serve. Native endpoints, WebSocket servers and HTTP servers
// share it.
//
// A connection is arriving until its handshake is complete. Then it is
// established, either anonymous or known, if the peer has proved its identity.
// A Gate limits both stages. It limits arriving connections for each remote
// address as well, and has room that only known peers and loopback addresses can
// use. If there is no room for a new connection, the Gate closes an older one
// rather than refuse the new one:
//
//   - first an arriving connection that has sent nothing for a second,
//   - then a connection of the address that has the most,
//   - and among these the one that has been idle for the longest time.
//
// So an attacker who opens many connections mostly closes its own. A known peer
// never loses its connection to an anonymous one.
//
// Hosts decides by which names web pages may reach a server.
package admission
