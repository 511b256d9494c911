package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/zeekwire/zeekwire/broker/security/certtest"
)

// A reload reads certificate files again. If one of them is invalid, the rest
// of the reload still takes place.
func TestReload(t *testing.T) {
	level := zerolog.GlobalLevel()
	defer zerolog.SetGlobalLevel(level)
	ca := certtest.New(t)
	cert, key := ca.Issue(t, "controller")
	fresh := func(level string) *serviceSettings {
		s := newControllerSettings()
		for name, value := range map[string]string{"tls": "mutual", "tls-cert": cert, "tls-key": key, "tls-ca": ca.File} {
			t.Setenv("ZEEKWIRE_CONTROLLER_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")), value)
		}
		if err := s.t.Load("", os.Getenv, nil); err != nil {
			t.Fatal(err)
		}
		s.logs.level = level
		return s.shared()
	}
	var log strings.Builder
	cmd := new(cobra.Command)
	cmd.SetErr(&log)
	s := fresh("info")
	o, err := newOperation(cmd, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	reloads := 0
	o.reloads = append(o.reloads, func(declared) error { reloads++; return nil })

	otherCert, otherKey := ca.Issue(t, "controller")
	for from, to := range map[string]string{otherCert: cert, otherKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.reload(s, fresh("warn")); err != nil || zerolog.GlobalLevel() != zerolog.WarnLevel || reloads != 1 {
		t.Errorf("%v, %s, %d reloads", err, zerolog.GlobalLevel(), reloads)
	}

	if err := os.WriteFile(cert, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	failure := errors.New("no file of clients")
	o.reloads = append(o.reloads, func(declared) error { return failure })
	err = o.reload(s, fresh("error"))
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), cert) || zerolog.GlobalLevel() != zerolog.ErrorLevel || reloads != 2 {
		t.Errorf("%v, %s, %d reloads", err, zerolog.GlobalLevel(), reloads)
	}
}
