package main

import (
	"path/filepath"

	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/agent/diskwatch"
)

// addDisks adds the settings for disks that fill up.
func addDisks(t *settings.Table, s *diskwatch.Settings) {
	t.Group("Disks")
	t.Add(
		settings.Setting{
			Name: "disk-warn", Value: threshold(&s.Warn),
			Help: "`SPACE` such as 10% or 5G: a disk of the agent with less free space is reported as a problem; 0: never",
		},
		settings.Setting{
			Name: "disk-expire", Value: threshold(&s.Expire),
			Help: "`SPACE`: if the disk of the archive has less free space, the oldest archived logs are removed; 0: never",
		},
		settings.Setting{
			Name: "disk-stop", Value: threshold(&s.Stop),
			Help: "`SPACE`: if the disk of the state or of logs has less free space, the nodes that write logs are stopped until there is more; 0: never",
		},
	)
}

func threshold(p *diskwatch.Threshold) settings.Value {
	return settings.Parsed(p, diskwatch.ParseThreshold, diskwatch.Threshold.String)
}

// watchedDisks returns the directories whose disks the agent watches.
func (s *agentSettings) watchedDisks() []diskwatch.Directory {
	directories := []diskwatch.Directory{
		{Path: s.stateDir, Use: diskwatch.State | diskwatch.Logs}, // nodes write logs in their directories there
		{Path: s.archive.queueDir(s.nodes.spoolDir, s.stateDir), Use: diskwatch.Logs},
	}
	if dir := s.archive.archiveDir(s.stateDir); dir != "" {
		directories = append(directories, diskwatch.Directory{Path: dir, Use: diskwatch.Archive})
	}
	for i, d := range directories {
		if abs, err := filepath.Abs(d.Path); err == nil {
			directories[i].Path = abs
		}
	}
	return directories
}
