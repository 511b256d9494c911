package redact_test

import (
	"maps"
	"testing"

	"github.com/zeekwire/zeekwire/zeekapi/redact"
)

func TestName(t *testing.T) {
	for name, want := range map[string]bool{
		"PASSWORD": true, "DB_PASS": true, "API_TOKEN": true, "api-key": true, "AWS_SECRET_ACCESS_KEY": true, "SSL_KEY": true,
		"HTTP_COOKIE": true, "AUTH": true, "Broker::ssl_passphrase": true, "KEY": true,
		"PATH": false, "HOME": false, "ZEEKPATH": false, "SSL_KEYFILE": false, "TOKEN_FILE": false, "PASSWORD_PATH": false,
		"INTERFACE": false, "MONKEYS": false, "PWD": false, "OLDPWD": false, "DB_PWD": true, "": false,
	} {
		if got := redact.Name(name); got != want {
			t.Errorf("%s is a secret: %t, want %t", name, got, want)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"nothing to hide":                                                         "nothing to hide",
		"line 3: syntax error, at or near \"x\"":                                  "line 3: syntax error, at or near \"x\"",
		"PASSWORD=hunter2 PATH=/bin":                                              "PASSWORD=(hidden) PATH=/bin",
		`redef X::api_token = "a b\"c";`:                                          `redef X::api_token = "(hidden)";`,
		`{"password": "hunter2", "port": 5}`:                                      `{"password": "(hidden)", "port": 5}`,
		"password: hunter2":                                                       "password: (hidden)",
		"Broker::ssl_keyfile=/etc/key.pem":                                        "Broker::ssl_keyfile=/etc/key.pem",
		"see https://bob:hunter2@host/x":                                          "see https://bob:(hidden)@host/x",
		"Authorization: Bearer abcdef0123456789":                                  "Authorization: (hidden) (hidden)",
		"-----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY-----\nrest": "(hidden)\nrest",
		"-----BEGIN PRIVATE KEY-----\ncut off":                                    "(hidden)",
		"key AKIAIOSFODNN7EXAMPLE.":                                               "key (hidden).",
		"10.0.0.1:2150 and ab:cd":                                                 "10.0.0.1:2150 and ab:cd",
		`"token": null`:                                                           `"token": null`,
	} {
		if got := redact.Text(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
		if got := redact.Text(redact.Text(text)); got != redact.Text(text) {
			t.Errorf("%q masked twice is %q", text, got)
		}
	}
}

// A secret of the environment is masked wherever it appears.
func TestWithout(t *testing.T) {
	env := map[string]string{"API_TOKEN": "s3cr3t-value", "SHORT_KEY": "abc", "HOME": "/root"}
	secrets := redact.Secrets(env)
	if got := redact.Without(secrets, "connecting with s3cr3t-value, abc and /root"); got != "connecting with (hidden), abc and /root" {
		t.Errorf("text %q", got)
	}
	want := map[string]string{"API_TOKEN": redact.Mask, "SHORT_KEY": redact.Mask, "HOME": "/root"}
	if got := redact.Env(env); !maps.Equal(got, want) {
		t.Errorf("environment %v", got)
	}
}
