package client_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zeekwire/zeekwire/broker/jsonv1"
	"github.com/zeekwire/zeekwire/broker/request"
	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/fake"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// packSite returns a packed site of three parts.
func packSite(t *testing.T) *site.Packed {
	t.Helper()
	dir := t.TempDir()
	data := make([]byte, 2*zeekapi.MaxSitePart+zeekapi.MaxSitePart/2)
	rand.Read(data)
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := site.Pack(dir, site.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serveSites returns a controller that keeps sites in a store. If fail returns an
// error, that is the response.
func serveSites(t *testing.T, store *site.Store, fail func(zeekapi.Message) error) *client.Client {
	t.Helper()
	c, _ := operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
		if err := fail(m); err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case zeekapi.UploadSiteRequest:
			at, err := store.Append(m.SitePart)
			return fake.Success(at), err
		case zeekapi.DownloadSiteRequest:
			part, err := store.Read(m.Site, m.Offset, zeekapi.MaxSitePart)
			return fake.Success(part), err
		}
		return nil, errors.New("unexpected")
	})
	return c
}

func TestUploadAndDownloadSite(t *testing.T) {
	store, err := site.Open(site.StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p := packSite(t)
	parts := 0
	broken := errors.New("broken")
	c := serveSites(t, store, func(m zeekapi.Message) error {
		if q, ok := m.(zeekapi.UploadSiteRequest); ok && q.Data != "" {
			if parts++; parts == 2 {
				return broken
			}
		}
		return nil
	})
	var seen []uint64
	upload := func() error {
		seen = nil
		return c.UploadSite(t.Context(), p, client.Transfer{Progress: func(have, size uint64) {
			if size != uint64(len(p.Data)) {
				t.Errorf("size %d", size)
			}
			seen = append(seen, have)
		}})
	}
	const part = zeekapi.MaxSitePart
	full := uint64(len(p.Data))
	var refused *client.RefusedError
	if err := upload(); !errors.As(err, &refused) || strings.Join(refused.Texts, "") != "broken" {
		t.Errorf("interrupted: %v", err)
	}
	if diff := cmp.Diff([]uint64{0, part}, seen); diff != "" {
		t.Error(diff)
	}
	if err := upload(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{part, 2 * part, full}, seen); diff != "" {
		t.Error(diff)
	}
	if err := upload(); err != nil || len(seen) != 1 || parts != 4 {
		t.Errorf("again: %v, progress %v, %d parts", err, seen, parts)
	}
	if at, err := c.SiteProgress(t.Context(), p.ID); err != nil || at != (zeekapi.SiteProgress{Have: full, Complete: true}) {
		t.Errorf("%+v, %v", at, err)
	}
	var got bytes.Buffer
	if err := c.DownloadSite(t.Context(), p.ID, &got, client.Transfer{}); err != nil || !bytes.Equal(got.Bytes(), p.Data) {
		t.Errorf("%d bytes of %d, %v", got.Len(), full, err)
	}
	if err := c.DownloadSite(t.Context(), strings.Repeat("0", 64), &got, client.Transfer{}); !errors.As(err, &refused) {
		t.Errorf("an unknown site: %v", err)
	}
	if err := c.DownloadSite(t.Context(), p.ID, &got, client.Transfer{Limits: site.Limits{Bytes: 1, Files: 1}}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("over the limit: %v", err)
	}
	for _, tr := range []client.Transfer{{Timeout: -1}, {Limits: site.Limits{Files: -1}}} {
		if err := c.DownloadSite(t.Context(), p.ID, &got, tr); err == nil {
			t.Errorf("%+v is accepted", tr)
		}
	}
	if err := c.UploadSite(t.Context(), p, client.Transfer{Timeout: -1}); err == nil {
		t.Error("a negative timeout is accepted")
	}
}

// TestUploadStartsOver uploads a site of which the controller has a part in another
// compression, which may be longer.
func TestUploadStartsOver(t *testing.T) {
	store, err := site.Open(site.StoreConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	p := packSite(t)
	data := strings.Repeat("x", zeekapi.MaxSitePart)
	for offset := range uint64(3) {
		if _, err := store.Append(zeekapi.SitePart{Site: p.ID, Size: 4 * zeekapi.MaxSitePart, Offset: offset * zeekapi.MaxSitePart, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	c := serveSites(t, store, func(zeekapi.Message) error { return nil })
	if err := c.UploadSite(t.Context(), p, client.Transfer{}); err != nil {
		t.Error(err)
	}
}

// TestHostileSiteTransfers ends although the controller never completes anything.
func TestHostileSiteTransfers(t *testing.T) {
	p := packSite(t)
	for name, respond := range map[string]func(m zeekapi.Message) any{
		"never gets more": func(zeekapi.Message) any { return zeekapi.SiteProgress{} },
		"has too much":    func(zeekapi.Message) any { return zeekapi.SiteProgress{Have: 1 << 63} },
		"starts over": func(m zeekapi.Message) any {
			return zeekapi.SiteProgress{Have: uint64(len(m.(zeekapi.UploadSiteRequest).Data)) % zeekapi.MaxSitePart}
		},
	} {
		t.Run("upload "+name, func(t *testing.T) {
			c, _ := operate(t, func(_ *fake.Controller, m zeekapi.Message) ([]zeekapi.Result, error) {
				return fake.Success(respond(m)), nil
			})
			if err := c.UploadSite(t.Context(), p, client.Transfer{}); err == nil || !strings.Contains(err.Error(), "accepts no more") {
				t.Errorf("%v", err)
			}
		})
	}
	good := zeekapi.SitePart{Site: p.ID, Size: 10, Data: "12345"}
	for name, change := range map[string]func(*zeekapi.SitePart){
		"another site":  func(s *zeekapi.SitePart) { s.Site = "../x" },
		"no data":       func(s *zeekapi.SitePart) { s.Data = "" },
		"too much data": func(s *zeekapi.SitePart) { s.Data = "12345678901" },
		"same part":     func(*zeekapi.SitePart) {},
		"enormous":      func(s *zeekapi.SitePart) { s.Size = 1 << 62 },
		"empty":         func(s *zeekapi.SitePart) { s.Size, s.Data = 0, "" },
	} {
		t.Run("download "+name, func(t *testing.T) {
			c, _ := operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
				part := good
				change(&part)
				return fake.Success(part), nil
			})
			var got bytes.Buffer
			if err := c.DownloadSite(t.Context(), p.ID, &got, client.Transfer{}); err == nil || got.Len() > 5 {
				t.Errorf("%v, %d bytes", err, got.Len())
			}
		})
	}
}

func TestSiteTimeout(t *testing.T) {
	c, _ := operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) { return nil, fake.ErrNoResponse })
	var missing *request.NoResponseError
	if err := c.UploadSite(t.Context(), packSite(t), client.Transfer{Timeout: time.Millisecond}); !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
}

// TestSitesAreUnsupported calls a server that reports that it does not know the request.
func TestSitesAreUnsupported(t *testing.T) {
	var c *client.Client
	c, _ = operate(t, func(*fake.Controller, zeekapi.Message) ([]zeekapi.Result, error) {
		c.Complain(jsonv1.Error{Code: jsonv1.CodeDeserializationFailed, Context: "unknown event"})
		return nil, fake.ErrNoResponse
	})
	if err := c.UploadSite(t.Context(), packSite(t), client.Transfer{}); !errors.Is(err, client.ErrUnsupported) {
		t.Errorf("upload: %v", err)
	}
	if err := c.DownloadSite(t.Context(), strings.Repeat("0", 64), io.Discard, client.Transfer{}); !errors.Is(err, client.ErrUnsupported) {
		t.Errorf("download: %v", err)
	}
}
