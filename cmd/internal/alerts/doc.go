// Package alerts notifies operators of problems of a cluster. Machine decides when, and of
// what; it has no I/O. Service runs it for a controller and sends its notifications by a
// command, a webhook or mail.
package alerts
