package enrol

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/ownedfile"
)

// commandTime limits a renewal by a command, which delays the command.
const commandTime = 5 * time.Second

// lockSuffix is the end of the name of the file that RenewIfDue locks. It contains the
// time of the last attempt, unless that succeeded.
const lockSuffix = ".lock"

// RenewIfDue does for a command what a Renewer does for a service: it renews the
// certificate in a file, which also has its key, if two thirds of its lifetime are over.
// The file keeps its owner and its mode.
//
// Of several processes, one renews; the others continue with the present certificate. An
// attempt takes at most five seconds. After one that failed, there is none for an hour,
// or for a sixteenth of what is left of the lifetime if that is less. RenewIfDue returns
// the error of an attempt, and nil without one.
func (c *Client) RenewIfDue(ctx context.Context, now time.Time, file string) error {
	file, err := filepath.EvalSymlinks(file) // a link stays one
	if err != nil {
		return err
	}
	if leaf, err := c.load(file); err != nil || !due(now, leaf) {
		return err
	}
	lock, err := tryLock(file + lockSuffix)
	if lock == nil || err != nil {
		return err
	}
	defer lock.Close()
	leaf, err := c.load(file) // the previous holder may have renewed it
	if err != nil || !due(now, leaf) || now.Before(nextAttempt(lock, now, leaf)) {
		return err
	}
	if err := writeAttempt(lock, now.UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	p, _, err := c.Renew(ctx)
	if err != nil {
		return err
	}
	text, err := p.PEM()
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if err := ownedfile.Replace(file, text, info.Mode().Perm()); err != nil {
		return err
	}
	return writeAttempt(lock, "")
}

// load sets the certificate of the client to that in a file, and returns it.
func (c *Client) load(file string) (*x509.Certificate, error) {
	pair, err := security.LoadCertificate(file, file, "")
	if err != nil {
		return nil, err
	}
	c.Certificate = &pair
	return pair.Leaf, nil
}

// due reports whether a certificate is to be renewed, and still can be.
func due(now time.Time, c *x509.Certificate) bool {
	return !now.Before(DueAt(c)) && now.Before(c.NotAfter)
}

// tryLock locks a file, which it creates if it is missing. It returns nil if another process
// has locked it. Closing the file ends the lock.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, f.Close()
	case err != nil:
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// nextAttempt returns when an attempt to renew a certificate is possible, according to the
// locked file. A time in the future is that of a wrong clock.
func nextAttempt(lock *os.File, now time.Time, c *x509.Certificate) time.Time {
	text := make([]byte, len(time.RFC3339)+1)
	n, _ := lock.ReadAt(text, 0)
	last, err := time.Parse(time.RFC3339, string(text[:n]))
	if err != nil || last.After(now) {
		return time.Time{}
	}
	return last.Add(min(lookInterval, c.NotAfter.Sub(last)/16))
}

// writeAttempt writes the time of an attempt, "" for none.
func writeAttempt(lock *os.File, text string) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(text), 0)
	return err
}
