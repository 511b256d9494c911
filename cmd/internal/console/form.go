package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/zeekwire/zeekwire/zeekapi"
	"github.com/zeekwire/zeekwire/zeekapi/client"
)

// The fields of the form with a cluster file and a site.
const (
	fieldFile    = "file"       // the uploaded cluster file
	fieldName    = "name"       // of a file whose text the script has put into the editor
	fieldText    = "text"       // the edited cluster file
	fieldSiteID  = "site-id"    // of a site that was uploaded before
	fieldArchive = "site"       // archive of a site
	fieldFiles   = "site-files" // files of the directory of a site
)

// errFileSize means that a cluster file is larger than maxFile.
var errFileSize = &failure{http.StatusRequestEntityTooLarge, fmt.Sprintf("The file is larger than %s.", bytesText(maxFile))}

// deployForm is the content of the form.
type deployForm struct {
	values  map[string]string
	staging *staging // nil without files of a site
}

func (f *deployForm) close() {
	if f.staging != nil {
		f.staging.close()
	}
}

// readFile returns the cluster file in a form: the uploaded one, or the edited text. If the
// form has a site, it uploads that to the controller.
func (c *Console) readFile(r *http.Request, v Visitor) (*clusterFile, error) {
	form, err := c.readForm(r, v)
	defer form.close()
	if err != nil {
		return nil, err
	}
	f := &clusterFile{
		Name: baseName(cmp.Or(form.values[fieldName], "cluster.cfg")), Text: strings.ReplaceAll(form.values[fieldText], "\r\n", "\n"),
		mayUpload: v.May(zeekapi.UploadSiteCall.Request),
	}
	if len(f.Text) > maxFile {
		return nil, errFileSize
	}
	switch id := form.values[fieldSiteID]; {
	case form.staging != nil:
		c.server.Audit(r, zeekapi.UploadSiteCall.Request)
		err = c.sendSite(r.Context(), v, form.staging, f)
	case id != "":
		f.Site, err = c.formerSite(r.Context(), v, id)
	}
	return f, err
}

// readForm reads a form. The result must be closed, also after an error.
func (c *Console) readForm(r *http.Request, v Visitor) (*deployForm, error) {
	form := &deployForm{values: make(map[string]string)}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "multipart/form-data" {
		if err := r.ParseForm(); err != nil {
			return form, err
		}
		for _, name := range []string{fieldName, fieldText, fieldSiteID} {
			form.values[name] = r.PostFormValue(name)
		}
		return form, nil
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return form, err
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return form, nil
		}
		if err == nil {
			err = c.readPart(form, part, v)
		}
		if err != nil {
			return form, formError(err)
		}
	}
}

// formError returns the error for a form that cannot be read.
func formError(err error) error {
	if f := (*failure)(nil); errors.As(err, &f) || isTooLarge(err) {
		return err
	}
	return &failure{http.StatusBadRequest, "The form cannot be read: " + err.Error() + "."}
}

// readPart reads a field of a form.
func (c *Console) readPart(form *deployForm, part *multipart.Part, v Visitor) error {
	defer part.Close()
	filename := filenameOf(part)
	switch name := part.FormName(); name {
	case fieldArchive, fieldFiles:
		if filename == "" {
			return nil // nothing was chosen
		}
		return c.stage(form, part, v, filename, name == fieldArchive)
	case fieldFile:
		if filename == "" {
			return nil
		}
		text, err := readField(part)
		form.values[fieldName], form.values[fieldText] = filename, text
		return err
	case fieldName, fieldText, fieldSiteID:
		text, err := readField(part)
		if form.values[name] == "" { // or else there was an uploaded file
			form.values[name] = text
		}
		return err
	}
	return nil
}

// filenameOf returns the name of an uploaded file with its directories, which
// Part.FileName removes.
func filenameOf(part *multipart.Part) string {
	_, parameters, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return parameters["filename"]
}

// readField reads a text field.
func readField(part io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(part, maxFile+1))
	if len(text) > maxFile {
		return "", errFileSize
	}
	return string(text), err
}

// stage takes a file of a site, or an archive of one.
func (c *Console) stage(form *deployForm, part io.Reader, v Visitor, filename string, archive bool) error {
	if !v.May(zeekapi.UploadSiteCall.Request) {
		return v.refusal()
	}
	if s := form.staging; s != nil && (archive || s.archived) {
		return siteFailure("choose either a directory or an archive, not both")
	}
	if form.staging == nil {
		leave, err := c.uploads.enter(v.key())
		if err != nil {
			return err
		}
		if form.staging, err = newStaging(c.siteLimits); err != nil {
			leave()
			return err
		}
		form.staging.leave = leave
	}
	if archive {
		return form.staging.unpack(baseName(filename), part)
	}
	form.staging.name, _, _ = strings.Cut(filename, "/")
	return form.staging.add(filename, false, part)
}

// sendSite packs a site and sends it to the controller.
func (c *Console) sendSite(ctx context.Context, v Visitor, s *staging, f *clusterFile) error {
	p, err := s.pack()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	err = v.Client.UploadSite(ctx, p.Packed, client.Transfer{Timeout: client.DefaultTimeout})
	if refused := (*client.RefusedError)(nil); errors.As(err, &refused) {
		return siteFailure("the controller refuses it: %s", errorText(err))
	}
	if err != nil {
		return err
	}
	f.Site, f.warnings = &p.uploadedSite, p.warnings
	return nil
}

// formerSite returns a site that the visitor uploaded before.
func (c *Console) formerSite(ctx context.Context, v Visitor, id string) (*uploadedSite, error) {
	if !v.May(zeekapi.UploadSiteCall.Request) {
		return nil, v.refusal()
	}
	if !zeekapi.ValidSite(id) {
		return nil, siteFailure("%.100q is not the ID of a site", id)
	}
	ctx, cancel := context.WithTimeout(ctx, client.DefaultTimeout)
	defer cancel()
	at, err := v.Client.SiteProgress(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case !at.Complete:
		return nil, siteFailure("the controller does not keep it any more, choose it again")
	}
	return c.operation.site(id), nil
}

// site returns what is known about a site that was uploaded for an operation.
func (s *operations) site(id string) *uploadedSite {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.all {
		if o := r.get(); o.File != nil && o.File.Site != nil && o.File.Site.ID == id {
			return o.File.Site
		}
	}
	return &uploadedSite{ID: id}
}
