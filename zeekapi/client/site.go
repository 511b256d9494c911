package client

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// Transfer configures UploadSite and DownloadSite. The zero Transfer is valid.
type Transfer struct {
	// Timeout limits the wait for the response to each part. Zero means
	// DefaultTimeout. A negative value is an error.
	Timeout time.Duration

	// Limits limits the sites that DownloadSite accepts.
	Limits site.Limits

	// Progress, if non-nil, is called at the beginning and after every part, with
	// the transferred and the total size of the packed site in bytes.
	Progress func(have, size uint64)
}

func (t Transfer) complete() (Transfer, error) {
	if t.Timeout < 0 {
		return t, fmt.Errorf("client: timeout of a transfer is %s, must not be negative", t.Timeout)
	}
	if t.Timeout == 0 {
		t.Timeout = DefaultTimeout
	}
	if t.Progress == nil {
		t.Progress = func(uint64, uint64) {}
	}
	return t, nil
}

// maxStalls limits the parts of an upload after which the controller does not have
// more of the site than before. That happens if another client uploads it, too.
const maxStalls = 10

// SiteProgress returns how much of a site the controller has.
func (c *Client) SiteProgress(ctx context.Context, id string) (zeekapi.SiteProgress, error) {
	return c.sendPart(ctx, zeekapi.SitePart{Site: id})
}

// UploadSite sends a site to the controller, as far as the controller has not got
// it. An upload that was interrupted, for example by a lost connection, continues
// when UploadSite is called again. The error wraps ErrUnsupported if the controller
// reports that it does not know the request.
func (c *Client) UploadSite(ctx context.Context, p *site.Packed, t Transfer) error {
	t, err := t.complete()
	if err != nil {
		return err
	}
	send := func(part zeekapi.SitePart) (zeekapi.SiteProgress, error) {
		ctx, cancel := context.WithTimeout(ctx, t.Timeout)
		defer cancel()
		return c.sendPart(ctx, part)
	}
	size := uint64(len(p.Data))
	at, err := send(zeekapi.SitePart{Site: p.ID, Size: size})
	stalls, stuck := 0, false
	for err == nil && !at.Complete {
		t.Progress(min(at.Have, size), size)
		part := p.Part(at.Have)
		if stuck || part.Data == "" {
			part = p.Part(0) // the controller has a part of another compression
		}
		before := at.Have
		if at, err = send(part); err != nil {
			break
		}
		stuck = at.Have == before
		if at.Have <= before {
			stalls++
		}
		if stalls > maxStalls {
			return fmt.Errorf("client: the controller has %d of %d bytes of site %s and accepts no more", at.Have, size, p.ID)
		}
	}
	if err != nil {
		return err
	}
	t.Progress(size, size)
	return nil
}

func (c *Client) sendPart(ctx context.Context, part zeekapi.SitePart) (zeekapi.SiteProgress, error) {
	at, err := data[zeekapi.SiteProgress](ctx, c, zeekapi.UploadSiteCall, zeekapi.UploadSiteRequest{SitePart: part})
	return at, unsupported(err)
}

// DownloadSite writes a packed site that the controller has to w. It does not
// verify the content, which site.Unpack does.
func (c *Client) DownloadSite(ctx context.Context, id string, w io.Writer, t Transfer) error {
	t, err := t.complete()
	if err != nil {
		return err
	}
	longest, err := t.Limits.MaxPacked()
	if err != nil {
		return err
	}
	var have, size uint64
	for first := true; first || have < size; first = false {
		part, err := c.receivePart(ctx, id, have, t.Timeout)
		if err != nil {
			return err
		}
		if first {
			size = part.Size
		}
		length := uint64(len(part.Data))
		switch {
		case part.Site != id || part.Offset != have || part.Size != size,
			length == 0 || length > zeekapi.MaxSitePart || length > size-have:
			return fmt.Errorf("client: the controller sent %d bytes at %d of %d of site %.64q, want bytes at %d of %d of site %s",
				length, part.Offset, part.Size, part.Site, have, size, id)
		case size > longest:
			return fmt.Errorf("client: site %s is packed larger than the limit of %d bytes", id, longest)
		}
		if _, err := io.WriteString(w, part.Data); err != nil {
			return err
		}
		have += length
		t.Progress(have, size)
	}
	return nil
}

func (c *Client) receivePart(ctx context.Context, id string, offset uint64, timeout time.Duration) (zeekapi.SitePart, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	part, err := data[zeekapi.SitePart](ctx, c, zeekapi.DownloadSiteCall, zeekapi.DownloadSiteRequest{Site: id, Offset: offset})
	return part, unsupported(err)
}
