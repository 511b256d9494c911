package clientcmd

import (
	"strings"

	"github.com/zeekwire/zeekwire/cmd/internal/manpage"
)

// Misuse is the exit code of a usage error.
const Misuse = 2

// Attention is the exit code, with --strict-exit only, of status for a cluster with
// problems, of diff for a configuration with changes, of netstats for nodes that drop
// packets, and of peers for missing connections.
const Attention = 3

// ExitCodes describes the exit codes, for help and manual pages.
const ExitCodes = `Exit codes:
  0    success
  1    failure, or partial failure
  2    usage error
  130  interrupted`

// Environment describes the environment variables, for help and manual pages.
const Environment = `Environment variables:
  ZEEK_CLIENT_CONFIG_FILE      settings file
  ZEEK_CLIENT_CONFIG_SETTINGS  settings, SECTION.KEY=VALUE separated by blanks
  ZEEKWIRE_TOKEN               token to authenticate with to the controller`

// ExtendedExitCodes describes the exit codes that Tool.Extended adds.
const ExtendedExitCodes = `
  3    with --strict-exit only: status found a problem, diff found changes,
       netstats found drops, or peers found missing connections`

// Manual returns the sections that manual pages have in addition to the help.
func (t *Tool) Manual() []manpage.Section {
	codes := ExitCodes
	if t.Extended {
		codes += ExtendedExitCodes
	}
	return []manpage.Section{
		{Title: "Exit status", Text: strings.TrimPrefix(codes, "Exit codes:\n")},
		{Title: "Environment", Text: strings.TrimPrefix(Environment, "Environment variables:\n") + `
  NO_COLOR                     if set, disables colours
  TERM                         if "dumb", disables colours and progress display`},
	}
}
