// Package redact masks secrets in texts that are to be sent to others, such as reports
// about a node: passwords, tokens, private keys and what looks like them. It masks too much
// rather than too little. It cannot know a secret that has neither a name nor a known form.
package redact

import (
	"regexp"
	"strings"
	"sync"
)

// Mask replaces a secret.
const Mask = "(hidden)"

// words are parts of the names of secrets, in lower case, without separators.
var words = []string{
	"pass", "pwd", "secret", "token", "apikey", "accesskey", "privatekey", "sslkey", "hmac", "credential", "cookie", "auth", "bearer", "salt", "psk",
}

// Name reports whether a variable with this name probably has a secret as its value. Names
// of files with secrets are none.
func Name(name string) bool {
	name = strings.NewReplacer("_", "", "-", "", ".", "", ":", "").Replace(strings.ToLower(name))
	if name == "pwd" || name == "oldpwd" {
		return false // the working directories of a shell, which every process inherits
	}
	for _, place := range []string{"file", "path", "dir", "directory"} {
		if strings.HasSuffix(name, place) {
			return false
		}
	}
	for _, word := range words {
		if strings.Contains(name, word) {
			return true
		}
	}
	return name == "key" || strings.HasSuffix(name, "key")
}

// Env returns environment variables with masked secrets.
func Env(env map[string]string) map[string]string {
	masked := make(map[string]string, len(env))
	for name, value := range env {
		if masked[name] = Text(value); Name(name) && value != "" {
			masked[name] = Mask
		}
	}
	return masked
}

// minSecret is the length of the shortest value that Secrets returns, in bytes. Shorter
// ones would be masked in texts that have nothing to do with them.
const minSecret = 5

// Secrets returns the values of environment variables that are probably secrets, for
// Without.
func Secrets(env map[string]string) []string {
	var secrets []string
	for name, value := range env {
		if Name(name) && len(value) >= minSecret {
			secrets = append(secrets, value)
		}
	}
	return secrets
}

// Without is Text, and also masks the given secrets.
func Without(secrets []string, text string) string {
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			text = strings.ReplaceAll(text, secret, Mask)
		}
	}
	return Text(text)
}

var (
	privateKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|$)`)
	})
	userInfo   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`) })
	bearer     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`) })
	assignment = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.:-]*)("?\s*(?:=|:)\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;"']+)`)
	})
	accessKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{16}\b`) })
	tokens    = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\b(ghp|gho|ghs|github_pat|glpat|xox[abps])[_-][A-Za-z0-9_-]{10,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)
	})
)

// Text returns a text with masked secrets: private keys, passwords in URLs, tokens of known
// forms, and values that are assigned to names of secrets, such as in "password: x".
func Text(text string) string {
	text = privateKey().ReplaceAllString(text, Mask)
	text = userInfo().ReplaceAllString(text, "${1}"+Mask+"@")
	text = bearer().ReplaceAllString(text, "${1} "+Mask)
	text = accessKey().ReplaceAllString(text, Mask)
	text = tokens().ReplaceAllString(text, Mask)
	return assignment().ReplaceAllStringFunc(text, func(found string) string {
		parts := assignment().FindStringSubmatch(found)
		name, sign, value := parts[1], parts[2], parts[3]
		switch {
		case !Name(lastWord(name)) && !Name(name), value == "null", value == Mask:
			return found
		case strings.HasPrefix(value, `"`):
			value = `"` + Mask + `"`
		default:
			value = Mask
		}
		return name + sign + value
	})
}

// lastWord returns the part of a name after its last scope or section.
func lastWord(name string) string {
	return name[strings.LastIndexAny(name, ".:")+1:]
}
