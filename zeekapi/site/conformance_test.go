package site_test

import (
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/controller"
	"github.com/zeekwire/zeekwire/zeekapi/controller/storetest"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

func TestStoreConforms(t *testing.T) {
	storetest.RunSites(t, func(t *testing.T) storetest.SitesFixture {
		cfg := site.StoreConfig{Dir: t.TempDir()}
		return storetest.SitesFixture{
			Open: func(t *testing.T) (controller.SiteStore, func()) { return openStore(t, cfg), func() {} },
		}
	})
}
