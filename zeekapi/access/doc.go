// Package access controls the permissions of a controller's clients: their
// roles, the file that lists them, and their authentication at a WebSocket
// server.
//
// Zeek has no such control: any client that can connect to a Zeek controller
// may make all requests.
package access
