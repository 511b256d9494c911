package clientcmd

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/zeekwire/zeekwire/broker/security"
	"github.com/zeekwire/zeekwire/cmd/internal/enrol"
)

// keepCertificate renews the client's certificate if that is due and renew_from is set. It
// warns the user if the certificate is still about to expire afterwards, or has expired.
func (r *run) keepCertificate(ctx context.Context) {
	if !r.tls || r.certificate == "" {
		return
	}
	now := time.Now()
	renewal := r.renewCertificate(ctx, now)
	if renewal != nil {
		r.debug("cannot renew the certificate: %v", renewal)
	}
	pair, err := security.LoadCertificate(r.certificate, r.privateKey(), r.passphrase)
	if err != nil || !enrol.Soon(now, pair.Leaf) {
		return // connecting reports what is wrong with the file
	}
	verb, end := "expires", pair.Leaf.NotAfter
	if !now.Before(end) {
		verb = "expired"
	}
	text := fmt.Sprintf("the certificate %s %s at %s", r.certificate, verb, end.UTC().Format(time.RFC3339))
	if renewal != nil {
		text += fmt.Sprintf(", and cannot be renewed: %v", renewal)
	}
	if r.renewFrom != "" {
		text += "; \"zeekwire join --replace\" replaces it, with a new join file"
	}
	r.warning("%s", text)
}

// renewCertificate renews the certificate if it is due. It returns the error of an attempt.
func (r *run) renewCertificate(ctx context.Context, now time.Time) error {
	if r.renewFrom == "" || r.caFile == "" || r.privateKey() != r.certificate {
		return nil
	}
	issuer, err := os.ReadFile(r.caFile)
	if err != nil {
		return err
	}
	return (&enrol.Client{Address: r.renewFrom, Authority: issuer}).RenewIfDue(ctx, now, r.certificate)
}
