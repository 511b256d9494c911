// Package compat has the tests that hold the promises of docs/compatibility.md:
// state files and programs of earlier versions work with the present ones, and
// output, settings and flags on which others rely do not vanish.
package compat
