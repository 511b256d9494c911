package clientcmd

import (
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// Misuse is the exit code of a command that was called wrongly.
const Misuse = 2

// Attention is the exit code, with --strict-exit only, of status if something
// in the cluster is not as it should be, and of diff if there are changes.
const Attention = 3

// ExitCodes says what the exit codes mean, for help and manual pages.
const ExitCodes = `Exit codes:
  0    done
  1    failed, or a part of it did
  2    called wrongly
  130  interrupted`

// Environment says which variables the commands heed, for help and manual
// pages.
const Environment = `Environment variables:
  ZEEK_CLIENT_CONFIG_FILE      a file with settings
  ZEEK_CLIENT_CONFIG_SETTINGS  settings, SECTION.KEY=VALUE with blanks between
  ZEEKWIRE_TOKEN               a token that the controller knows us by`

// PeopleExitCodes is what there is on top of that with Tool.People.
const PeopleExitCodes = `
  3    with --strict-exit only: status finds something that is not as it should
       be, diff finds changes`

// Manual returns what the manual pages of the commands have to say on top of
// the help.
func (t *Tool) Manual() []manpage.Section {
	codes := ExitCodes
	if t.People {
		codes += PeopleExitCodes
	}
	return []manpage.Section{
		{Title: "Exit status", Text: strings.TrimPrefix(codes, "Exit codes:\n")},
		{Title: "Environment", Text: strings.TrimPrefix(Environment, "Environment variables:\n") + `
  NO_COLOR                     if it is set, no colours are used
  TERM                         dumb: no colours, and no lines that change`},
	}
}
