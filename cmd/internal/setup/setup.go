// Package setup makes the files of a secure cluster: settings of services, certificates
// and join files. It checks everything before it writes anything, and overwrites nothing.
package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
	"github.com/zeekwire/zeekwire/cmd/internal/settings"
)

// Place is where the files of a machine are.
type Place struct {
	ConfigDir string          // settings of services
	StateDir  string          // state of services, with certificates
	Owner     ownedfile.Owner // of the state
}

// Certificates returns the directory for certificates and keys.
func (p Place) Certificates() string { return filepath.Join(p.StateDir, "tls") }

// AuthorityDir returns the directory of the authority.
func (p Place) AuthorityDir() string { return filepath.Join(p.StateDir, "authority") }

// AuthorityFile returns the file with the certificate of the authority.
func (p Place) AuthorityFile() string { return filepath.Join(p.Certificates(), "ca.pem") }

// RevokedFile returns the file with the list of revoked certificates, on machines other
// than the controller's.
func (p Place) RevokedFile() string { return filepath.Join(p.Certificates(), "revoked.pem") }

// PairFile returns the file with the certificate of that name and its key.
func (p Place) PairFile(name string) string { return filepath.Join(p.Certificates(), name+".pem") }

// A Written is a file that has been written, for people.
type Written struct{ Name, Purpose string }

// absent returns an error unless none of the files exists.
func absent(names ...string) error {
	var errs []error
	for _, name := range names {
		switch _, err := os.Lstat(name); {
		case err == nil:
			errs = append(errs, fmt.Errorf("%s: %w", name, fs.ErrExist))
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// amendment is a settings file with additional lines.
type amendment struct {
	file  string
	text  []byte
	perm  fs.FileMode
	owner ownedfile.Owner
}

// amend adds settings to a file, which need not exist, under a heading. Settings that the
// file has already with the same value are left out; another value is an error.
func (p Place) amend(file, heading string, add []settings.Assignment) (amendment, error) {
	a := amendment{file: file, perm: 0o640, owner: p.Owner.Reader()}
	given, err := settings.FileAssignments(file)
	if err != nil {
		return a, err
	}
	info, err := os.Stat(file)
	switch {
	case err == nil:
		a.perm = info.Mode().Perm()
		if a.owner, err = ownedfile.Of(file); err != nil {
			return a, err
		}
		if a.text, err = os.ReadFile(file); err != nil {
			return a, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return a, err
	}
	var lines []string
	var errs []error
	for _, want := range add {
		switch now, ok := find(given, want.Name); {
		case !ok:
			lines = append(lines, settings.Line(want.Name, want.Text))
		case now != want.Text:
			errs = append(errs, fmt.Errorf("%s sets %s to %q already, not to %q: remove that line", file, want.Name, now, want.Text))
		}
	}
	if len(errs) > 0 || len(lines) == 0 {
		return a, errors.Join(errs...)
	}
	text := strings.TrimRight(string(a.text), "\n")
	if text != "" {
		text += "\n\n"
	}
	a.text = []byte(text + "# " + heading + "\n" + strings.Join(lines, "\n") + "\n")
	return a, nil
}

// find returns what a settings file sets a setting to.
func find(given []settings.Assignment, name string) (text string, ok bool) {
	names := []string{name}
	if long, isWeb := strings.CutPrefix(name, "websocket-tls-"); isWeb {
		names = append(names, "tls-options-websocket-"+map[string]string{"cert": "cert-file", "key": "key-file", "ca": "ca-file"}[long])
	}
	i := slices.IndexFunc(given, func(a settings.Assignment) bool { return slices.Contains(names, a.Name) })
	if i < 0 {
		return "", false
	}
	return given[i].Text, true
}

func (a amendment) write() error { return ownedfile.Write(a.file, a.text, a.perm, a.owner) }

// writable returns an error unless files can be made in a directory.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe.*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
