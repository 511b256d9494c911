package main

import (
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// siteSettings are the limits for sites of controllers and agents.
type siteSettings struct{ size, files, space int }

// mebibyte is the unit of sizes in settings, in bytes.
const mebibyte = 1 << 20

// maxSiteSpace is the largest value of settings in MiB, one TiB.
const maxSiteSpace = 1 << 20

func defaultSites() siteSettings {
	return siteSettings{
		size: site.DefaultMaxBytes / mebibyte, files: site.DefaultMaxFiles, space: site.DefaultStoreBytes / mebibyte,
	}
}

func (s *siteSettings) add(t *settings.Table) {
	t.Group("Sites")
	t.Add(
		settings.Setting{
			Name: "site-size", Value: settings.Count(&s.size, 1, maxSiteSpace),
			Help: "`MIB` that the scripts of a site may have, not compressed; must be the same in controller and agents",
		},
		settings.Setting{
			Name: "site-files", Value: settings.Count(&s.files, 1, 10_000_000),
			Help: "`NUMBER` of files, directories and links that a site may have; must be the same in controller and agents",
		},
		settings.Setting{
			Name: "site-space", Value: settings.Count(&s.space, 1, maxSiteSpace),
			Help: "`MIB` of disk space for all sites",
		},
	)
}

// store returns the configuration of the store in a directory.
func (s *siteSettings) store(dir string) site.StoreConfig {
	return site.StoreConfig{
		Dir: dir, Limits: site.Limits{Bytes: int64(s.size) * mebibyte, Files: s.files}, Bytes: int64(s.space) * mebibyte,
	}
}

// open opens the store in a directory for copies, which it does not limit in their number.
func (s *siteSettings) open(dir string) (*site.Store, error) {
	config := s.store(dir)
	config.Bytes = maxSiteSpace * mebibyte
	return site.Open(config)
}
