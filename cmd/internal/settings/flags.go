package settings

import "github.com/spf13/pflag"

// Flags collects the settings of a command line, and the flags --config,
// --print-config and --check.
type Flags struct {
	File  string // of --config
	Print bool   // --print-config
	Check bool   // --check

	given []assignment
}

// Register adds a flag for every setting of t to fs. Flags of settings that are
// not common are hidden.
func (f *Flags) Register(fs *pflag.FlagSet, t *Table) {
	fs.StringVar(&f.File, "config", "", "`FILE` with settings")
	fs.BoolVar(&f.Print, "print-config", false, "print all settings with their origins, and exit")
	fs.BoolVar(&f.Check, "check", false, "check the settings and the files they name, and exit")
	for _, s := range t.shorthands {
		fs.VarPF(&flag{to: f, name: s.Name, text: s.Default}, s.Name, "", s.Help)
	}
	for _, s := range t.settings {
		p := fs.VarPF(&flag{to: f, name: s.Name, text: s.byDefault, setting: s.Value}, s.Name, "", s.Help)
		p.Hidden = !s.Common
		if _, ok := s.Value.(boolean); ok {
			p.NoOptDefVal = "true"
		}
	}
}

// AddFlags adds a flag for each setting to fs, for commands that take settings
// from flags only. Parsing the flag sets the value.
func AddFlags(fs *pflag.FlagSet, list ...Setting) {
	for _, s := range list {
		p := fs.VarPF(directFlag{s.Value}, s.Name, "", s.Help)
		if _, ok := s.Value.(boolean); ok {
			p.NoOptDefVal = "true"
		}
	}
}

// directFlag is a pflag.Value that sets the value of a setting immediately.
type directFlag struct{ Value }

func (directFlag) Type() string { return "value" }

// Choices returns the words that a shell can complete, or nil.
func (f directFlag) Choices() []string { return words(f.Value) }

// flag is a pflag.Value that keeps its text until the table is loaded.
type flag struct {
	to         *Flags
	name, text string
	setting    Value // nil for shorthands
}

func (f *flag) String() string { return f.text }
func (f *flag) Type() string   { return "value" }

// Choices returns the words that a shell can complete, or nil.
func (f *flag) Choices() []string { return words(f.setting) }

func words(v Value) []string {
	switch v := v.(type) {
	case choice:
		return v.words
	case boolean:
		return []string{"true", "false"}
	}
	return nil
}

func (f *flag) Set(text string) error {
	// The last occurrence of a flag counts.
	for i, a := range f.to.given {
		if a.name == f.name {
			f.to.given[i].text = text
			return nil
		}
	}
	f.to.given = append(f.to.given, assignment{name: f.name, text: text, origin: "--" + f.name})
	return nil
}
