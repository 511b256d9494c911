// Package nearest finds the name that was probably meant by a misspelled one.
package nearest

import "strings"

// Name returns the name in the list that is most similar to word, and whether it is
// similar enough to be suggested. The first of several equally similar names counts.
// If no name is similar, but word is the beginning of exactly one, Name returns that.
func Name(word string, list []string) (name string, near bool) {
	least := 0
	for _, candidate := range list {
		if d := Distance(word, candidate); name == "" || d < least {
			name, least = candidate, d
		}
	}
	if name != "" && least <= max(1, len(name)/4) {
		return name, true
	}
	if begun, only := beginningWith(word, list); only {
		return begun, true
	}
	return name, false
}

// beginningWith returns the name that begins with word, and whether it is the only one.
func beginningWith(word string, list []string) (name string, only bool) {
	for _, candidate := range list {
		if word == "" || !strings.HasPrefix(candidate, word) {
			continue
		}
		if name != "" {
			return "", false
		}
		name = candidate
	}
	return name, name != ""
}

// maxLength limits the length of compared names in bytes. Settings are far shorter.
const maxLength = 100

// Distance returns the number of edits that turn one name into the other: insertions,
// deletions and replacements of bytes, and exchanges of neighbours. Names of more than
// 100 bytes are as distant as their length.
func Distance(a, b string) int {
	if max(len(a), len(b)) > maxLength {
		return max(len(a), len(b))
	}
	rows := make([][]int, len(a)+1) // rows[i][j] is the distance of a[:i] and b[:j]
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		for j := range rows[i] {
			switch {
			case i == 0 || j == 0:
				rows[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				rows[i][j] = rows[i-1][j-1]
			default:
				rows[i][j] = 1 + min(rows[i-1][j-1], rows[i-1][j], rows[i][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], 1+rows[i-2][j-2])
			}
		}
	}
	return rows[len(a)][len(b)]
}
