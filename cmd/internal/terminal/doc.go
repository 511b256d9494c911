// Package terminal writes for people: styled lines, tables that fit, and lines
// that stay at the bottom and change.
//
// Whatever is written may have come from a peer, so nothing but what this
// package itself adds can move a cursor, change a colour or reorder text:
// characters that are not for printing are shown as escapes such as \x1b.
package terminal
