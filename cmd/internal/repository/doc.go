// Package repository contains tests of the files that describe the repository:
// links, paths and make targets in documents and workflows, and YAML syntax. It
// has no other code.
package repository
