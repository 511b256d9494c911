// Package site packs, stores and unpacks sites: directories with Zeek scripts and
// script packages that travel with a cluster configuration.
//
// A site is identified by its content. The canonical form of a site is a tar
// archive whose entries are sorted by path, without times, owners and other
// metadata: only whether a file is executable. The ID of a site is the SHA-256 of
// that archive, in lower-case hexadecimal digits. A packed site is the archive
// compressed with Zstandard. Because the ID does not depend on the compression, a
// newer compressor does not change the identity of a site.
//
// A site contains directories, regular files, and symbolic links to places inside
// the site. Pack refuses everything else, and so does Unpack, which accepts exactly
// the archives that Pack writes and trusts nothing that it reads.
//
// The package accesses no network and does not depend on controller, agent or
// client. All of them use it.
package site
