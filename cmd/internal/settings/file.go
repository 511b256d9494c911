package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
)

// maxFile limits the size of a file in bytes, in case a wrong file is named.
const maxFile = 1 << 20

// readFile returns the assignments of a file: lines of the form "name = value",
// with comments after "#". Values may be in double quotes, as strings in Go.
// Invalid lines become assignments with an error.
func readFile(name string) ([]assignment, error) {
	text, err := read(name)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return nil, fmt.Errorf("settings file %s: %w", name, err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d bytes, not a settings file", name, maxFile)
	}
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s: the file is UTF-16; save it as UTF-8", name)
	}
	return parse(name, text), nil
}

// FileAssignments returns what a settings file sets, in the order of its lines. A file
// that does not exist sets nothing. It returns an error if a line is invalid.
func FileAssignments(name string) ([]Assignment, error) {
	list, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var given []Assignment
	for _, a := range list {
		if a.wrong != nil {
			return nil, fmt.Errorf("%s: %w", a.origin, a.wrong)
		}
		given = append(given, Assignment{a.name, a.text})
	}
	return given, nil
}

// read returns the content of a file, at most maxFile+1 bytes.
func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func parse(name string, text []byte) (list []assignment) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	n := 0
	for line := range bytes.Lines(text) {
		n++
		key, value, err := parseLine(line)
		switch {
		case err != nil:
			list = append(list, assignment{origin: fmt.Sprintf("%s:%d", name, n), wrong: err})
		case key != "":
			list = append(list, assignment{name: key, text: value, origin: fmt.Sprintf("%s:%d: %s", name, n, key)})
		}
	}
	return list
}

// parseLine returns the key and the value of a line. The key is "" if the line is
// empty or a comment.
func parseLine(line []byte) (key, value string, err error) {
	if !utf8.Valid(line) {
		return "", "", errors.New("not UTF-8")
	}
	text := strings.TrimSpace(string(line))
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return "", "", errors.New("control character in line")
	}
	if text == "" || text[0] == '#' {
		return "", "", nil
	}
	key, value, ok := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		return "", "", fmt.Errorf("%.80q: want NAME = VALUE", text)
	}
	if !strings.HasPrefix(value, `"`) {
		value = uncomment(value)
		if strings.Contains(value, " ;") || strings.Contains(value, "\t;") || strings.HasPrefix(value, ";") {
			return "", "", fmt.Errorf("%s: a comment begins with #; put a value with a semicolon in quotes", key)
		}
		return key, value, nil
	}
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", "", fmt.Errorf("%s: no closing quote, or a bad escape", key)
	}
	if rest := strings.TrimSpace(value[len(quoted):]); rest != "" && rest[0] != '#' {
		return "", "", fmt.Errorf("%s: %.80q follows the closing quote", key, rest)
	}
	value, err = strconv.Unquote(quoted)
	return key, value, err
}

// uncomment removes a comment, which begins with "#" at the beginning or after a
// blank.
func uncomment(value string) string {
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i])
		}
	}
	return value
}

// Line returns the line of a settings file that sets the named setting to the value.
func Line(name, value string) string { return strings.TrimRight(name+" = "+quote(value), " ") }

// quote returns a value in the syntax of the file.
func quote(value string) string {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.HasPrefix(value, `"`) || strings.Contains(value, ";") || strings.TrimSpace(value) != value || uncomment(value) != value ||
		strings.ContainsFunc(value, unprintable) || !utf8.ValidString(value) {
		return strconv.Quote(value)
	}
	return value
}

// clean returns text that can be part of a comment.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// unknown returns the error for a name that is not in the table, which suggests
// a similar name.
func (t *Table) unknown(name string) error {
	meant, near := nearest.Name(strings.ReplaceAll(strings.ToLower(name), "_", "-"), t.names())
	if !near {
		return errors.New("unknown setting")
	}
	return fmt.Errorf("unknown setting, did you mean %s?", meant)
}
