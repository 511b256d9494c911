//go:build !linux

package testprocess

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
