//go:build !linux

package service

func memoryLimit(string) int64 { return 0 }
