//go:build race

package controller_test

func init() { race = true }
