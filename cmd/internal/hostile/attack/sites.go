package attack

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi"
)

// sites attacks controllers with packed sites.
var sites = []Attack{
	{"zstd bombs", "clients that upload sites of gigabytes, compressed to kilobytes", func(a *attacker) {
		bomb := zstdBomb()
		a.speakers(4, true, func(s *speaker) { s.upload(bomb) })
	}},
	{"archives with tricks", "clients that upload sites whose names and links leave the site, and of other kinds", func(a *attacker) {
		a.speakers(4, true, func(s *speaker) {
			for _, trick := range tricks() {
				s.upload(trick)
			}
		})
	}},
	{"many files", "clients that upload sites of a million empty files", func(a *attacker) {
		many := compressed(func(w io.Writer) {
			archive := tar.NewWriter(w)
			for i := range 200_000 {
				check(archive.WriteHeader(&tar.Header{Name: fmt.Sprintf("%08d.zeek", i), Mode: 0o644}))
			}
		})
		a.speakers(4, true, func(s *speaker) { s.upload(many) })
	}},
	{"endless uploads", "clients that begin uploads of the largest size and do not end them", func(a *attacker) {
		part := make([]byte, zeekapi.MaxSitePart)
		a.speakers(8, true, func(s *speaker) {
			id := siteID()
			for i := range uint64(20) {
				s.ask(zeekapi.UploadSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{
					Site: id, Size: 200 << 20, Offset: i * zeekapi.MaxSitePart, Data: string(part),
				}})
			}
		})
	}},
	{"strange parts", "clients that upload parts with strange sizes, offsets and names", func(a *attacker) {
		a.speakers(4, true, func(s *speaker) {
			for _, p := range []zeekapi.SitePart{
				{Site: "../../../../etc/passwd", Size: 1, Data: "x"}, {Site: strings.Repeat("a", 1<<20), Size: 1, Data: "x"},
				{Site: siteID(), Size: 1 << 63, Data: "x"}, {Site: siteID(), Size: 1<<64 - 1, Offset: 1<<64 - 1, Data: "x"},
				{Site: siteID(), Size: 10, Offset: 1 << 40}, {Site: siteID(), Size: 4 << 20, Data: strings.Repeat("x", 4<<20)}, {Site: ""},
			} {
				s.ask(zeekapi.UploadSiteRequest{ReqID: newID(), SitePart: p})
				s.ask(zeekapi.DownloadSiteRequest{ReqID: newID(), Site: p.Site, Offset: p.Offset})
			}
		})
	}},
}

// zstdBomb returns a packed site with a file of two gigabytes.
func zstdBomb() []byte {
	return compressed(func(w io.Writer) {
		archive := tar.NewWriter(w)
		check(archive.WriteHeader(&tar.Header{Name: "a.zeek", Mode: 0o644, Size: 2 << 30}))
		zeros := make([]byte, 1<<20)
		for range 2 << 10 {
			_, err := archive.Write(zeros)
			check(err)
		}
	})
}

// upload uploads a packed site under a new ID, which is not that of its content.
func (s *speaker) upload(packed []byte) {
	id := siteID()
	for at := 0; at < len(packed); at += zeekapi.MaxSitePart {
		s.ask(zeekapi.UploadSiteRequest{ReqID: newID(), SitePart: zeekapi.SitePart{
			Site: id, Size: uint64(len(packed)), Offset: uint64(at), Data: string(packed[at:min(len(packed), at+zeekapi.MaxSitePart)]),
		}})
	}
}

func siteID() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// compressed returns what write writes, compressed.
func compressed(write func(io.Writer)) []byte {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(4<<20))
	check(err)
	write(z)
	check(z.Close())
	return b.Bytes()
}

func check(err error) {
	if err != nil {
		panic(err) // a mistake in the attack: everything is in memory
	}
}

// tricks returns packed sites, each with one entry that must not be accepted.
func tricks() [][]byte {
	headers := []tar.Header{
		{Name: "../../escape.zeek", Mode: 0o644}, {Name: "/tmp/escape.zeek", Mode: 0o644}, {Name: "a/../../b.zeek", Mode: 0o644},
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "link", Typeflag: tar.TypeSymlink, Linkname: "../../../etc"},
		{Name: "link", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, {Name: "fifo", Typeflag: tar.TypeFifo}, {Name: "device", Typeflag: tar.TypeBlock, Devmajor: 8},
		{Name: strings.Repeat("d/", 30_000) + "x", Mode: 0o644}, {Name: "setuid", Mode: 0o6755}, {Name: "x\x1b[2J\n", Mode: 0o644}, {Name: "negative", Mode: -1},
	}
	var all [][]byte
	for _, h := range headers {
		all = append(all, compressed(func(w io.Writer) { check(tar.NewWriter(w).WriteHeader(&h)) }))
	}
	return append(all, []byte("no archive at all"), compressed(func(w io.Writer) { w.Write(make([]byte, 1024)) }))
}
