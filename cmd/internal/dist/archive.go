package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// A member is a file of an archive.
type member struct {
	name   string // below the archive's top directory
	source string
	mode   int64
}

// archive writes the archive for a platform: programs, documents, and for Linux
// the files for systemd.
func (r *release) archive(p platform) error {
	members, err := r.members(p)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.output, r.name(p)+".tar.gz"))
	if err != nil {
		return err
	}
	compressed := gzip.NewWriter(f)
	archive := tar.NewWriter(compressed)
	for _, m := range members {
		if err = r.add(archive, r.name(p)+"/"+m.name, m); err != nil {
			break
		}
	}
	return errors.Join(err, archive.Close(), compressed.Close(), f.Close())
}

// members returns the files of the archive for a platform.
func (r *release) members(p platform) ([]member, error) {
	var members []member
	for _, program := range programs {
		members = append(members, member{program, filepath.Join(r.bin(p), program), 0o755})
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		members = append(members, member{name, filepath.Join(r.root, name), 0o644})
	}
	trees := []struct{ name, dir string }{{"", r.generated()}, {"docs", filepath.Join(r.root, "docs")}}
	if p.os == "linux" {
		trees = append(trees, struct{ name, dir string }{"systemd", r.systemd()})
	}
	for _, tree := range trees {
		err := filepath.WalkDir(tree.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			relative, err := filepath.Rel(tree.dir, path)
			members = append(members, member{filepath.ToSlash(filepath.Join(tree.name, relative)), path, 0o644})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return members, nil
}

// add adds a file to an archive, with the time of the release.
func (r *release) add(archive *tar.Writer, name string, m member) error {
	f, err := os.Open(m.source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: name, Mode: m.mode, Size: info.Size(), ModTime: r.time, Format: tar.FormatPAX, Typeflag: tar.TypeReg}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return err
}
