package service

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// notifier reports the state of the service to systemd, over the socket in
// NOTIFY_SOCKET (systemd: sd_notify). Without that variable it does nothing. Its
// methods may be called concurrently and do not block for long.
type notifier struct {
	log      zerolog.Logger
	watchdog time.Duration // watchdog timeout of systemd; 0 for none

	mu     sync.Mutex
	failed bool
	status string
}

// Timeouts of messages to systemd. A watchdog message that is lost is followed by
// another one.
const (
	newsPatience = 2 * time.Second
	lifePatience = 20 * time.Millisecond
)

// newNotifier returns a notifier that logs its first failure.
func newNotifier(log zerolog.Logger) *notifier {
	n := &notifier{log: log}
	var err error
	if n.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn().Err(err).Msg("invalid watchdog interval in WATCHDOG_USEC")
	}
	return n
}

// interval returns the interval at which alive must be called.
func (n *notifier) interval() time.Duration {
	if n.watchdog > 0 {
		return min(BeatInterval, n.watchdog/3)
	}
	return BeatInterval
}

// ready reports that the service is ready.
func (n *notifier) ready() { n.send(daemon.SdNotifyReady, newsPatience) }

// stopping reports that the service is shutting down.
func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping, newsPatience) }

// reloading reports that the service reloads; a call of ready must follow.
func (n *notifier) reloading() {
	n.send(daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec(), newsPatience)
}

// alive reports that the service makes progress.
func (n *notifier) alive() {
	if n.watchdog > 0 {
		n.send(daemon.SdNotifyWatchdog, lifePatience)
	}
}

// tell reports a short status text, if it has changed.
func (n *notifier) tell(text string) {
	n.mu.Lock()
	news := n.status != text
	n.status = text
	n.mu.Unlock()
	if news {
		n.send("STATUS="+text, lifePatience)
	}
}

func (n *notifier) send(state string, patience time.Duration) {
	err := send(state, patience)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil && !n.failed {
		n.log.Warn().Err(err).Msg("cannot notify systemd")
	}
	n.failed = err != nil
	if n.failed {
		n.status = "" // send it again
	}
}

// send is daemon.SdNotify with a timeout; daemon.SdNotify blocks while systemd
// does not read.
func send(state string, patience time.Duration) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(patience))
	_, err = conn.Write([]byte(state))
	return err
}
