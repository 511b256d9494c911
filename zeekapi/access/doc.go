// Package access says who may give orders to a controller: the roles of
// clients, the file that lists them, and what proves to a WebSocket server that
// one of them is calling.
//
// Zeek has nothing like it: whoever reaches a controller may do everything.
package access
