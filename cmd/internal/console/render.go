package console

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/access"
	"github.com/zeekwire/zeekwire/zeekapi/httpapi"
)

//go:embed templates static
var files embed.FS

// view is the content of a page.
type view struct {
	Name  string // of the template
	Title string
	Data  any

	Status int           // of the HTTP response; zero means 200
	Still  bool          // the page has no stream, because it contains what the visitor edits or decides
	Poll   time.Duration // interval in which a stream renders the view again, besides changes of the snapshot; 0: none
}

// viewFunc returns the view for a request.
type viewFunc func(*http.Request, Visitor) (view, error)

// page is the data of a template. Data is that of the view.
type page struct {
	view
	Visitor Visitor
	Path    string
	Live    bool // the page has a stream
	Main    template.HTML
	Session bool
	Full    bool // the visitor may change the cluster

	parts []part
}

// part is an element of a page that is sent alone when it changes.
type part struct {
	id   string
	html string
}

// Part renders a template as a part of the page. The element that it consists of must have the
// given ID.
func (p *page) Part(name, id string, data any) (template.HTML, error) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, map[string]any{"ID": id, "X": data, "Page": p}); err != nil {
		return "", err
	}
	text := strings.TrimSpace(b.String())
	p.parts = append(p.parts, part{id, text})
	return template.HTML(text), nil //nolint:gosec // the output of a template
}

// May reports whether the visitor may make a request.
func (p *page) May(name string) bool {
	for r := range zeekapi.Requests() {
		if r.Name == name && r.API == zeekapi.ControllerAPI {
			return p.Visitor.May(r)
		}
	}
	return false
}

// render returns the page of a view with its main element rendered.
func (c *Console) render(r *http.Request, v Visitor, x view) (*page, error) {
	p := &page{
		view: x, Visitor: v, Path: r.URL.Path, Session: !v.Until.IsZero(), Full: v.Role == access.Full && !v.StandsBy,
		Live: v.Role != access.None && x.Status == 0 && !x.Still,
	}
	var b bytes.Buffer
	s, _ := c.watch.get()
	if note := newStandby(s.Status, r); note != nil && v.Role != access.None {
		banner, err := p.Part("standby", "standby", note) // first, because parts are in the order of the page
		if err != nil {
			return nil, err
		}
		b.WriteString(string(banner))
	}
	if err := templates().ExecuteTemplate(&b, x.Name, p); err != nil {
		return nil, err
	}
	p.Main = template.HTML(b.String()) //nolint:gosec // the output of a template
	return p, nil
}

// write sends a view as a page.
func (c *Console) write(w http.ResponseWriter, r *http.Request, v Visitor, x view) {
	p, err := c.render(r, v, x)
	var b bytes.Buffer
	if err == nil {
		err = templates().ExecuteTemplate(&b, "page", p)
	}
	if err != nil {
		http.Error(w, "The page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Vary", "Accept")
	w.WriteHeader(cmp.Or(x.Status, http.StatusOK))
	_, _ = w.Write(b.Bytes()) // the visitor has gone
}

// fail shows an error as a page.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, v Visitor, err error) {
	status, text := http.StatusBadGateway, err.Error()
	var f *failure
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		status = f.status
	case errors.As(err, &tooLarge):
		status, text = http.StatusRequestEntityTooLarge, fmt.Sprintf("The form is larger than %d bytes.", tooLarge.Limit)
	}
	c.write(w, r, v, view{Name: "failure", Title: http.StatusText(status), Data: text, Status: status})
}

// templates returns all templates. Each has the name of its block. They are parsed when they
// are first used: commands start faster without.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/*.html"))
})

// functions are those of the templates.
var functions = template.FuncMap{
	"age":     func(t time.Time) moment { return moment{t, "age"} },
	"at":      func(t time.Time) moment { return moment{t, "at"} },
	"bytes":   bytesText,
	"cpu":     cpuText,
	"rate":    rateText,
	"percent": percentText,
	"count":   countText,
	"short":   short,
	"lower":   func(v any) string { return strings.ToLower(fmt.Sprint(v)) },
	"asset":   assetPath,
	"join":    strings.Join,
	"add":     func(a, b int) int { return a + b },
	"dict":    dict,
	"seg":     url.PathEscape,
}

// dict returns a map of names and values for a template.
func dict(pairs ...any) map[string]any {
	m := make(map[string]any)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// moment is a time that the script shows as an age or in the visitor's zone.
type moment struct {
	T    time.Time
	Kind string
}

// Known reports whether there is a time.
func (m moment) Known() bool { return !m.T.IsZero() }

// Machine returns the time for the attribute datetime.
func (m moment) Machine() string { return m.T.UTC().Format(time.RFC3339) }

// Text returns the time for readers without JavaScript.
func (m moment) Text() string { return m.T.UTC().Format("2006-01-02 15:04:05Z") }

// asset is a static file.
type asset struct {
	kind    string
	data    []byte
	address string // contains a hash of the content
}

// assets returns the static files by name.
var assets = sync.OnceValue(func() map[string]asset {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	all := map[string]asset{}
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		data, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		address := httpapi.AssetPrefix + hex.EncodeToString(sum[:6]) + "/" + e.Name()
		all[e.Name()] = asset{kinds[path.Ext(e.Name())], data, address}
	}
	return all
})

func assetPath(name string) string { return assets()[name].address }

// static serves the static files. Their addresses change with their content.
var static = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	a := assets()[path.Base(r.URL.Path)]
	if a.address != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.data) // the visitor has gone
})
