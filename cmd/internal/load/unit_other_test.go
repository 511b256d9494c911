//go:build !linux

package load

const maxrssUnit = 1 // as on macOS
