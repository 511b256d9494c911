// Package terminal writes to terminals: styled lines, tables that fit the screen, and
// lines at the bottom that are updated.
//
// Texts may come from a peer. The package replaces characters that are not printable
// by escapes such as \x1b, so that a text cannot move the cursor, change a colour or
// reorder other text.
package terminal
