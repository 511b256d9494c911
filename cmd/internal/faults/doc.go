// Package faults contains tests that run controller and agent on file systems that are
// full, read-only, removed or replaced, and without file descriptors. They count the
// changes that were acknowledged and are lost, of which there must be none.
package faults
