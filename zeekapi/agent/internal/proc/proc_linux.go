package proc

import (
	"strconv"

	"github.com/prometheus/procfs"
)

// Read returns the state of a process.
func Read(pid int) (Stat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return Stat{}, err
	}
	return read(p)
}

func read(p procfs.Proc) (Stat, error) {
	s, err := p.Stat()
	if err != nil {
		return Stat{}, err
	}
	return Stat{
		Name: s.Comm, Ended: s.State == "Z" || s.State == "X", StartTime: strconv.FormatUint(s.Starttime, 10),
		Parent: s.PPID, Group: s.PGRP,
		ticks: uint64(s.UTime) + uint64(s.STime), resident: uint64(s.ResidentMemory()),
	}, nil
}

// Each calls f for all processes that have not ended.
func Each(f func(pid int, s Stat)) error {
	all, err := procfs.AllProcs()
	if err != nil {
		return err
	}
	for _, p := range all {
		if s, err := read(p); err == nil && !s.Ended {
			f(p.PID, s)
		}
	}
	return nil
}
