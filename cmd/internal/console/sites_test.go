package console

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/client"
	"github.com/zeekwire/zeekwire/zeekapi/site"
)

// upload is a file of a form.
type upload struct{ field, name, text string }

// review sends the form with a cluster file and files of a site.
func (l *lab) review(text string, values map[string]string, files ...upload) (*http.Response, string) {
	l.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	_ = form.WriteField("text", text)
	for name, value := range values {
		_ = form.WriteField(name, value)
	}
	for _, f := range files {
		header := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", f.field, f.name)}}
		part, err := form.CreatePart(header)
		if err == nil {
			_, err = io.WriteString(part, f.text)
		}
		if err != nil {
			l.Fatal(err)
		}
	}
	_ = form.Close()
	r := l.newRequest(http.MethodPost, "/deploy", &b)
	r.Header.Set("Content-Type", form.FormDataContentType())
	resp := l.roundTrip(r)
	return resp, l.body(resp)
}

// reviewed is like review, and returns the page of the finished check.
func (l *lab) reviewed(text string, values map[string]string, files ...upload) (path, page string) {
	l.Helper()
	resp, body := l.review(text, values, files...)
	if resp.StatusCode != http.StatusSeeOther {
		l.Fatalf("%s\n%s", resp.Status, body)
	}
	path = resp.Header.Get("Location")
	return path, l.operation(path)
}

// withSite is a cluster file that names the directory of a site.
func withSite() string { return "[cluster]\nsite = my-site\n\n" + clusterText("") }

// deployedSite returns the files of the site of the configuration that should run.
func (l *lab) deployedSite() map[string]string {
	l.Helper()
	config, err := l.ask.GetConfiguration(l.Context(), true)
	if err != nil {
		l.Fatal(err)
	}
	var packed bytes.Buffer
	if err := l.ask.DownloadSite(l.Context(), config.Site, &packed, client.Transfer{}); err != nil {
		l.Fatal(err)
	}
	dir := l.TempDir() + "/site"
	if err := site.Unpack(&packed, config.Site, dir, site.Limits{}); err != nil {
		l.Fatal(err)
	}
	found := map[string]string{}
	p, err := site.Pack(dir, site.Limits{})
	if err != nil {
		l.Fatal(err)
	}
	for _, e := range p.Entries {
		if e.Dir {
			continue
		}
		text, err := os.ReadFile(dir + "/" + e.Path)
		if err != nil {
			l.Fatal(err)
		}
		found[e.Path] = string(text)
	}
	return found
}

// TestSiteOfDirectory uploads the files of a directory, as browsers send them, and deploys
// the configuration with the site.
func TestSiteOfDirectory(t *testing.T) {
	l := sample(t, access.Full)
	_, page := l.reviewed(withSite(), nil)
	l.wants(page, "1 error", "my-site", "choose the directory")
	path, page := l.reviewed(withSite(), nil,
		upload{"site-files", "my-site/local.zeek", "@load ./sub/more\n"}, upload{"site-files", "my-site/sub/more.zeek", "# more\n"},
		upload{"site-files", "my-site/.git/config", "secret"})
	l.wants(page, "could run on 2 machines", "from my-site: 2 files")
	l.wants(l.get("/deploy?operation="+strings.TrimPrefix(path, "/operations/")), `name="site-id"`, "that you have uploaded: my-site, 2 files")
	l.wants(l.operation(l.post(path+"/deploy", nil)), "Deploy: done.")
	if got := fmt.Sprint(l.deployedSite()); got != "map[local.zeek:@load ./sub/more\n sub/more.zeek:# more\n]" {
		t.Errorf("the site is %s", got)
	}
	id := l.console.operation.all[len(l.console.operation.all)-2].get().File.Site.ID
	_, page = l.reviewed(withSite(), map[string]string{"site-id": id})
	l.wants(page, "could run", "2 files")
	_, page = l.reviewed(clusterText(""), nil, upload{"site-files", "other/local.zeek", "# of a file that names no site\n"})
	l.wants(page, "could run", "from other: 1 file")
	for _, bad := range []string{"nonsense", strings.Repeat("0", 64)} {
		if resp, body := l.review(withSite(), map[string]string{"site-id": bad}); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("the site %q: %s %s", bad, resp.Status, body)
		}
	}
}

// entry is a file of an archive.
type entry struct {
	name, text, link string
	mode             int64
	kind             byte
}

func tarOf(entries ...entry) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode | 0o600, Size: int64(len(e.text)), Typeflag: e.kind, Linkname: e.link, Format: tar.FormatPAX}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag != tar.TypeReg {
			h.Size = 0
		}
		if w.WriteHeader(h) == nil && h.Size > 0 {
			_, _ = io.WriteString(w, e.text)
		}
	}
	_ = w.Close()
	return b.String()
}

func zipOf(entries ...entry) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		h.SetMode(os.FileMode(e.mode | 0o600))
		text := e.text
		if e.link != "" {
			h.SetMode(os.ModeSymlink | 0o777)
			text = e.link
		}
		if f, err := w.CreateHeader(h); err == nil {
			_, _ = io.WriteString(f, text)
		}
	}
	_ = w.Close()
	return b.String()
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func zstandard(text string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(text), nil))
}

// TestSiteOfArchive takes the same site from each kind of archive.
func TestSiteOfArchive(t *testing.T) {
	l := sample(t, access.Full)
	files := []entry{{name: "s/local.zeek", text: "# local\n"}, {name: "s/bin/tool", text: "#!/bin/sh\n", mode: 0o755}, {name: "s/alias.zeek", link: "local.zeek", kind: tar.TypeSymlink}}
	inner := tarOf(files...)
	ids := map[string]string{}
	for name, text := range map[string]string{"s.tar": inner, "s.tar.gz": gzipped(inner), "s.tar.zst": zstandard(inner), "s.zip": zipOf(files...)} {
		_, page := l.reviewed(withSite(), nil, upload{"site", name, text})
		l.wants(page, "could run on 2 machines", "from "+name+": 2 files")
		ids[l.console.operation.all[len(l.console.operation.all)-1].get().File.Site.ID] = name
	}
	if len(ids) != 1 {
		t.Errorf("the sites differ: %v", ids)
	}
}

// TestHostileSites refuses names and archives that leave the directory, exceed the limits, or
// are no archives, with the reason. Nothing remains on the disk.
func TestHostileSites(t *testing.T) {
	l := sample(t, access.Full)
	t.Setenv("TMPDIR", t.TempDir())
	l.console.siteLimits = site.Limits{Bytes: 1 << 20, Files: 20}
	local := entry{name: "local.zeek", text: "# local\n"}
	var many []upload
	for i := range 30 {
		many = append(many, upload{"site-files", fmt.Sprintf("s/f%d", i), ""})
	}
	for what, test := range map[string]struct {
		files []upload
		want  string
	}{
		"a name with ..":              {[]upload{{"site-files", "s/../../evil", "x"}}, "no path inside"},
		"an absolute name":            {[]upload{{"site-files", "/etc/evil", "x"}}, "no path inside"},
		"a name with a backslash":     {[]upload{{"site-files", `s/..\\evil`, "x"}}, "no path inside"},
		"the same file twice":         {[]upload{{"site-files", "s/a", "x"}, {"site-files", "s/a", "x"}}, "cannot be created"},
		"a file as a directory":       {[]upload{{"site-files", "s/a", "x"}, {"site-files", "s/a/b", "x"}}, "cannot be created"},
		"too many files":              {many, "more than 20 files"},
		"a large file":                {[]upload{{"site-files", "s/a", strings.Repeat("x", 1<<20+1)}}, "larger than"},
		"a directory and an archive":  {[]upload{{"site-files", "s/a", "x"}, {"site", "s.tar", tarOf(local)}}, "not both"},
		"an archive and a directory":  {[]upload{{"site", "s.tar", tarOf(local)}, {"site-files", "s/a", "x"}}, "not both"},
		"a text":                      {[]upload{{"site", "s.tar", strings.Repeat("no archive", 200)}}, "no archive"},
		"an empty archive":            {[]upload{{"site", "s.tar", ""}}, "no files"},
		"a broken gzip":               {[]upload{{"site", "s.tgz", gzipped(tarOf(local))[:40]}}, "archive"},
		"a broken zip":                {[]upload{{"site", "s.zip", zipOf(local)[:40]}}, "archive"},
		"a tar with ..":               {[]upload{{"site", "s.tar", tarOf(local, entry{name: "../evil", text: "x"})}}, "no path inside"},
		"a tar with an absolute name": {[]upload{{"site", "s.tar", tarOf(local, entry{name: "/etc/evil", text: "x"})}}, "no path inside"},
		"a link that leaves the site": {[]upload{{"site", "s.tar", tarOf(local, entry{name: "l", kind: tar.TypeSymlink, link: "../../etc/passwd"})}}, "leaves the site"},
		"a file through a link":       {[]upload{{"site", "s.tar", tarOf(local, entry{name: "l", kind: tar.TypeSymlink, link: "/tmp"}, entry{name: "l/evil", text: "x"})}}, "cannot be created"},
		"a device":                    {[]upload{{"site", "s.tar", tarOf(local, entry{name: "d", kind: tar.TypeChar})}}, "neither a file"},
		"a hard link":                 {[]upload{{"site", "s.tar", tarOf(local, entry{name: "h", kind: tar.TypeLink, link: "/etc/passwd"})}}, "neither a file"},
		"a bomb in gzip":              {[]upload{{"site", "s.tgz", gzipped(tarOf(entry{name: "bomb", text: strings.Repeat("\x00", 32<<20)}))}}, "larger than"},
		"a bomb in zip":               {[]upload{{"site", "s.zip", zipOf(entry{name: "bomb", text: strings.Repeat("\x00", 32<<20)})}}, "larger than"},
		"a zip with ..":               {[]upload{{"site", "s.zip", zipOf(entry{name: "../evil", text: "x"})}}, "no path inside"},
		"markup in a name":            {[]upload{{"site-files", "../<script>alert(1)</script>", "x"}}, "&lt;script&gt;"},
	} {
		resp, body := l.review(withSite(), nil, test.files...)
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, test.want) || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: %s, want %q in\n%s", what, resp.Status, test.want, body)
		}
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left on the disk: %v, %v", left, err)
	}
	if resp, _ := l.review(withSite(), nil, upload{"site-files", "s/a", strings.Repeat("x", 4<<20)}); resp.StatusCode != http.StatusRequestEntityTooLarge && resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("a form that is larger than a site: %s", resp.Status)
	}
}

// TestSiteIsDenied refuses the site of a visitor who may only read, and offers no upload.
func TestSiteIsDenied(t *testing.T) {
	l := sample(t, access.ReadOnly)
	l.lacks(l.get("/deploy"), "site-files")
	if resp, _ := l.review(withSite(), nil, upload{"site-files", "s/local.zeek", "x"}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a site of a visitor who may only read: %s", resp.Status)
	}
	if resp, _ := l.review(withSite(), map[string]string{"site-id": strings.Repeat("a", 64)}); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a former site of a visitor who may only read: %s", resp.Status)
	}
	_, page := l.reviewed(withSite(), nil)
	l.wants(page, "zeekwire deploy-config")
}

// TestOneUploadAtATime refuses the second upload of a visitor.
func TestOneUploadAtATime(t *testing.T) {
	l := sample(t, access.Full)
	leave, err := l.console.uploads.enter("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	files := upload{"site-files", "s/local.zeek", "x"}
	if resp, _ := l.review(withSite(), nil, files); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a second upload: %s", resp.Status)
	}
	leave()
	l.reviewed(withSite(), nil, files)
}
