// Package disktest gives tests file systems of their own, which can be full or read-only.
// It needs Linux, and either root or the permission to make user namespaces. Tests that
// have neither are skipped with the reason.
package disktest
