// Package settings loads the settings of a service. A table declares each setting
// once. Its values come from defaults, a file, the environment and flags; later
// sources override earlier ones.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/nearest"
)

// Setting is a setting of a service. Every setting is a key of the
// file, a flag of the same name, and an environment variable: the setting
// "listen-port" of the service "controller" is ZEEKWIRE_CONTROLLER_LISTEN_PORT.
type Setting struct {
	Name string // in kebab case

	// Help describes the setting in a few words, with the name of the value in
	// backquotes, as in package pflag.
	Help string

	// Zeek is the corresponding redefinable constant of Zeek, or "".
	Zeek string

	// Env lists variables of Zeek that also set it; the first that is set counts.
	Env []Variable

	// Common settings appear in --help, the others only in --print-config.
	Common bool

	// Reload reports whether a reload applies a new value.
	Reload bool

	// Value stores the value. Its value when the setting is added is the default.
	Value Value

	group     string
	byDefault string
	origin    string
}

// Variable is an environment variable. An empty variable is treated as not set.
type Variable struct {
	Name string

	// Convert converts the text of the variable to the text of the setting. If
	// nil, they are the same.
	Convert func(string) (string, error)
}

// Shorthand sets several settings with one text, which Expand converts. It can be
// used wherever a setting can.
type Shorthand struct {
	Name, Help string
	Default    string // for the help only
	Expand     func(string) ([]Assignment, error)
}

// Assignment is the text to set a setting to.
type Assignment struct{ Name, Text string }

// Table holds the settings of a service in the order in which they were added.
// It must not be used concurrently.
type Table struct {
	service    string
	group      string
	settings   []*Setting
	shorthands []*Shorthand
}

// NewTable returns an empty table for a service, such as "controller".
func NewTable(service string) *Table { return &Table{service: service} }

// Group begins a group of settings.
func (t *Table) Group(title string) { t.group = title }

// Add adds settings. It panics if a name is already in use.
func (t *Table) Add(settings ...Setting) {
	for _, s := range settings {
		t.claim(s.Name)
		s.group, s.byDefault = t.group, s.Value.String()
		t.settings = append(t.settings, &s)
	}
}

// AddShorthand adds a shorthand. It panics if its name is already in use.
func (t *Table) AddShorthand(s Shorthand) {
	t.claim(s.Name)
	t.shorthands = append(t.shorthands, &s)
}

func (t *Table) claim(name string) {
	if t.setting(name) != nil || t.shorthand(name) != nil {
		panic("settings: " + name + " is declared twice")
	}
}

// All returns the settings in order.
func (t *Table) All() []Setting {
	all := make([]Setting, len(t.settings))
	for i, s := range t.settings {
		all[i] = *s
	}
	return all
}

// Default returns the default as text.
func (s Setting) Default() string { return s.byDefault }

func (t *Table) setting(name string) *Setting {
	i := slices.IndexFunc(t.settings, func(s *Setting) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return t.settings[i]
}

func (t *Table) shorthand(name string) *Shorthand {
	i := slices.IndexFunc(t.shorthands, func(s *Shorthand) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return t.shorthands[i]
}

// variable returns the name of the setting's own environment variable.
func (t *Table) variable(name string) string {
	return ours + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(t.service+"_"+name))
}

// ours is the prefix of all of our own variables.
const ours = "ZEEKWIRE_"

// Errors is the list of errors found in the settings.
type Errors []error

// Error returns the errors, one a line.
func (e Errors) Error() string { return errors.Join(e...).Error() }

// Unwrap returns the errors.
func (e Errors) Unwrap() []error { return e }

// Load sets the values from a file, unless its name is "", then from the
// environment, where our own variables override Zeek's, then from flags, which
// may be nil. It returns all errors together, as Errors that name the line, the
// variable or the flag.
func (t *Table) Load(file string, getenv func(string) string, flags *Flags) error {
	var errs Errors
	if file != "" {
		list, err := readFile(file)
		if err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, t.assign(list)...)
	}
	errs = append(errs, t.assignZeekVariables(getenv)...)
	errs = append(errs, t.assign(t.variables(getenv))...)
	if flags != nil {
		errs = append(errs, t.assign(flags.given)...)
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// assignment is the text of a setting or a shorthand, with its origin, such as
// "--listen", "controller.conf:3: listen".
type assignment struct {
	name, text, origin string

	wrong error // if non-nil, the line is invalid
}

// assign applies the assignments of one source. A source must not set a setting
// twice.
func (t *Table) assign(list []assignment) (errs Errors) {
	said := make(map[string]string)
	set := func(s *Setting, text, origin string) {
		if before, ok := said[s.Name]; ok {
			errs = append(errs, fmt.Errorf("%s: %s is already set by %s", origin, s.Name, before))
			return
		}
		said[s.Name] = origin
		if err := s.Value.Set(text); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", origin, text, err))
			return
		}
		s.origin = origin
	}
	for _, a := range list {
		if a.wrong != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.origin, a.wrong))
			continue
		}
		if s := t.setting(a.name); s != nil {
			set(s, a.text, a.origin)
			continue
		}
		short := t.shorthand(a.name)
		if short == nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.origin, t.unknown(a.name)))
			continue
		}
		expanded, err := short.Expand(a.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", a.origin, a.text, err))
			continue
		}
		for _, e := range expanded {
			set(t.setting(e.Name), e.Text, a.origin)
		}
	}
	return errs
}

// assignZeekVariables applies the variables of Zeek.
func (t *Table) assignZeekVariables(getenv func(string) string) (errs Errors) {
	for _, s := range t.settings {
		i := slices.IndexFunc(s.Env, func(v Variable) bool { return getenv(v.Name) != "" })
		if i < 0 {
			continue
		}
		v, text, err := s.Env[i], getenv(s.Env[i].Name), error(nil)
		converted := text
		if v.Convert != nil {
			converted, err = v.Convert(text)
		}
		if err == nil {
			err = s.Value.Set(converted)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", v.Name, text, err))
			continue
		}
		s.origin = v.Name
	}
	return errs
}

// variables returns the assignments of our own variables.
func (t *Table) variables(getenv func(string) string) (list []assignment) {
	for _, name := range t.names() {
		if v := t.variable(name); getenv(v) != "" {
			list = append(list, assignment{name: name, text: getenv(v), origin: v})
		}
	}
	return list
}

// Strays returns warnings about variables in an environment, as returned by
// os.Environ, that look like variables of the service but are not, and do not
// belong to another of the services. They are not errors because other programs
// also set variables: Kubernetes sets ZEEKWIRE_CONTROLLER_SERVICE_HOST for a
// service of that name.
func (t *Table) Strays(environment []string, services ...string) (strays []error) {
	known := make(map[string]bool)
	for _, name := range t.names() {
		known[t.variable(name)] = true
	}
	for _, item := range environment {
		variable, value, _ := strings.Cut(item, "=")
		name, isOurs := strings.CutPrefix(variable, ours)
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		service, rest, hasService := strings.Cut(name, "-")
		if !isOurs || value == "" || known[variable] || hasService && service != t.service && slices.Contains(services, service) {
			continue
		}
		if hasService && nearest.Distance(service, t.service) <= 2 {
			name = rest
		}
		meant, near := nearest.Name(name, t.names())
		switch {
		case near:
			strays = append(strays, fmt.Errorf("%s: unknown variable, did you mean %s?", variable, t.variable(meant)))
		case hasService && service == t.service:
			strays = append(strays, fmt.Errorf("%s: unknown variable", variable))
		}
	}
	slices.SortFunc(strays, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return strays
}

// names returns the names of all shorthands and settings.
func (t *Table) names() []string {
	var names []string
	for _, s := range t.shorthands {
		names = append(names, s.Name)
	}
	for _, s := range t.settings {
		names = append(names, s.Name)
	}
	return names
}

// Wrong returns an error about the value of a setting that names its origin.
func (t *Table) Wrong(name, format string, args ...any) error {
	s := t.setting(name)
	origin := s.origin
	if origin == "" {
		origin = name
	}
	return fmt.Errorf("%s %q: %w", origin, s.Value, fmt.Errorf(format, args...))
}

// NeedRestart returns the names of the settings that differ between two tables of
// a service and that a reload does not apply.
func NeedRestart(before, after *Table) []string {
	var names []string
	for _, s := range after.settings {
		if !s.Reload && s.Value.String() != before.setting(s.Name).Value.String() {
			names = append(names, s.Name)
		}
	}
	return names
}

// Print writes all settings with their origins, in the format of the file.
func (t *Table) Print(w io.Writer) error {
	return t.write(w, func(s *Setting) string {
		origin := s.origin
		if origin == "" {
			origin = "default"
		}
		return fmt.Sprintf("%-40s # %s", s.Name+" = "+quote(s.Value.String()), clean(origin))
	})
}

// Sample writes a settings file with all defaults, commented out.
func (t *Table) Sample(w io.Writer) error {
	first := t.settings[0].Name
	_, err := fmt.Fprintf(w, `# Settings of the %s with their defaults. Remove the "#" before a setting to
# change it. The environment overrides this file, and flags override both: %s is
# also %s and --%s.

`, t.service, first, t.variable(first), first)
	if err != nil {
		return err
	}
	return t.write(w, func(s *Setting) string { return "#" + strings.TrimSpace(s.Name+" = "+quote(s.byDefault)) })
}

func (t *Table) write(w io.Writer, line func(*Setting) string) error {
	var b strings.Builder
	group := ""
	for _, s := range t.settings {
		if s.group != group {
			group = s.group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		fmt.Fprintf(&b, "\n# %s\n", strings.ReplaceAll(s.Help, "`", ""))
		if s.Zeek != "" {
			fmt.Fprintf(&b, "# Zeek: %s\n", s.Zeek)
		}
		fmt.Fprintln(&b, line(s))
	}
	_, err := io.WriteString(w, strings.TrimPrefix(b.String(), "\n"))
	return err
}
