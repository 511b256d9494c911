// Package settings gives a service its settings: a table that declares each of
// them once, filled from defaults, a file, the environment and flags. What
// comes later in this order wins.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Setting is one choice that a service offers. Every setting is a key of the
// file, a flag of the same name, and an environment variable: the setting
// "listen-port" of the service "controller" is ZEEKWIRE_CONTROLLER_LISTEN_PORT.
type Setting struct {
	Name string // in kebab case

	// Help says what it does in a few words, with the name of the value in
	// backquotes as package pflag wants it.
	Help string

	// Zeek is the redefinable constant of Zeek that the setting stands for.
	Zeek string

	// Env are variables of Zeek that set it, too; the first that is set counts.
	Env []Variable

	// Common settings are shown by --help, the others by --print-config.
	Common bool

	// Reload says that the service takes a new value when it reloads.
	Reload bool

	// Value holds the value; what it holds when the setting is added is the
	// default.
	Value Value

	group     string
	byDefault string
	origin    string
}

// Variable is an environment variable. One that is empty is not set.
type Variable struct {
	Name string

	// Convert makes the setting's text of the variable's; nil if they are the
	// same.
	Convert func(string) (string, error)
}

// Shorthand stands for several settings, which Expand makes of one text. It can
// be used wherever a setting can.
type Shorthand struct {
	Name, Help string
	Default    string // for the help only
	Expand     func(string) ([]Assignment, error)
}

// Assignment is a text for a setting.
type Assignment struct{ Name, Text string }

// Table is the settings of a service in the order in which they were added. It
// is not safe for concurrent use.
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

// Add adds settings. It panics if a name is taken.
func (t *Table) Add(settings ...Setting) {
	for _, s := range settings {
		t.claim(s.Name)
		s.group, s.byDefault = t.group, s.Value.String()
		t.settings = append(t.settings, &s)
	}
}

// AddShorthand adds a shorthand. It panics if its name is taken.
func (t *Table) AddShorthand(s Shorthand) {
	t.claim(s.Name)
	t.shorthands = append(t.shorthands, &s)
}

func (t *Table) claim(name string) {
	if t.setting(name) != nil || t.shorthand(name) != nil {
		panic("settings: " + name + " is declared twice")
	}
}

// All returns the settings in their order.
func (t *Table) All() []Setting {
	all := make([]Setting, len(t.settings))
	for i, s := range t.settings {
		all[i] = *s
	}
	return all
}

// Default returns the text of the default.
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

// variable is the setting's own environment variable.
func (t *Table) variable(name string) string {
	return ours + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(t.service+"_"+name))
}

// ours is what all of our own variables begin with.
const ours = "ZEEKWIRE_"

// Errors are all that is wrong with the settings.
type Errors []error

// Error returns one line for each.
func (e Errors) Error() string { return errors.Join(e...).Error() }

// Unwrap returns them all.
func (e Errors) Unwrap() []error { return e }

// Load fills in the values: from a file unless its name is "", then from the
// environment, where our own variables go before Zeek's, then from flags, which
// may be nil. What is wrong it reports all at once, as Errors that name the
// line, the variable or the flag.
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

// assignment is a text for a setting or a shorthand, and where it stands:
// "--listen", "controller.conf:3: listen".
type assignment struct {
	name, text, origin string

	wrong error // why there is none
}

// assign sets what one source says. Within a source, nothing may be said twice.
func (t *Table) assign(list []assignment) (errs Errors) {
	said := make(map[string]string)
	set := func(s *Setting, text, origin string) {
		if before, ok := said[s.Name]; ok {
			errs = append(errs, fmt.Errorf("%s: %s is set already, by %s", origin, s.Name, before))
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

// assignZeekVariables sets what variables of Zeek say.
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

// variables returns what our own variables say.
func (t *Table) variables(getenv func(string) string) (list []assignment) {
	for _, name := range t.names() {
		if v := t.variable(name); getenv(v) != "" {
			list = append(list, assignment{name: name, text: getenv(v), origin: v})
		}
	}
	return list
}

// Strays returns what was probably meant for the service in an environment, a
// list such as os.Environ returns, but is none of its variables, nor for
// another of the services. They are no errors: others put variables into an
// environment, too. Kubernetes makes ZEEKWIRE_CONTROLLER_SERVICE_HOST of a name.
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
		if hasService && distance(service, t.service) <= 2 {
			name = rest
		}
		nearest, near := t.nearest(name)
		switch {
		case near:
			strays = append(strays, fmt.Errorf("%s: there is no such variable, did you mean %s?", variable, t.variable(nearest)))
		case hasService && service == t.service:
			strays = append(strays, fmt.Errorf("%s: there is no such variable", variable))
		}
	}
	slices.SortFunc(strays, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return strays
}

// names returns all that can be set.
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

// Wrong returns an error about a setting's value that says where it comes from.
func (t *Table) Wrong(name, format string, args ...any) error {
	s := t.setting(name)
	origin := s.origin
	if origin == "" {
		origin = name
	}
	return fmt.Errorf("%s %q: %w", origin, s.Value, fmt.Errorf(format, args...))
}

// NeedRestart returns the names of settings that differ between two tables of a
// service, but for those that a reload takes.
func NeedRestart(before, after *Table) []string {
	var names []string
	for _, s := range after.settings {
		if !s.Reload && s.Value.String() != before.setting(s.Name).Value.String() {
			names = append(names, s.Name)
		}
	}
	return names
}

// Print writes the settings in the format of the file, each with where it comes
// from. Loaded again, they are the same.
func (t *Table) Print(w io.Writer) error {
	return t.write(w, func(s *Setting) string {
		origin := s.origin
		if origin == "" {
			origin = "default"
		}
		return fmt.Sprintf("%-40s # %s", s.Name+" = "+quote(s.Value.String()), clean(origin))
	})
}

// Sample writes a file for people to edit: the defaults, commented out.
func (t *Table) Sample(w io.Writer) error {
	first := t.settings[0].Name
	_, err := fmt.Fprintf(w, `# Settings of the %s and their defaults. Remove the "#" before one to change it.
# The environment goes before this file, and flags go before both: %s is also
# %s, and --%s.

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
