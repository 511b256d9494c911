package service

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// notifier tells systemd how the service is, by the socket that it names in
// NOTIFY_SOCKET (systemd: sd_notify). Where there is none it does nothing. Its
// methods may be called from any goroutine, and never wait for long.
type notifier struct {
	log      zerolog.Logger
	watchdog time.Duration // how long systemd waits for a sign of life; 0: for ever

	mu     sync.Mutex
	failed bool
	status string
}

// How long a systemd that does not read may hold us up. What it does not hear in
// time is lost, which is no matter for signs of life: there will be more.
const (
	newsPatience = 2 * time.Second
	lifePatience = 20 * time.Millisecond
)

// newNotifier returns a notifier that reports its own trouble to the log, once.
func newNotifier(log zerolog.Logger) *notifier {
	n := &notifier{log: log}
	var err error
	if n.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn().Err(err).Msg("systemd wants signs of life, but not clearly how often")
	}
	return n
}

// interval returns how often alive must be called.
func (n *notifier) interval() time.Duration {
	if n.watchdog > 0 {
		return min(BeatInterval, n.watchdog/3)
	}
	return BeatInterval
}

// ready says that the service serves.
func (n *notifier) ready() { n.send(daemon.SdNotifyReady, newsPatience) }

// stopping says that it is about to end.
func (n *notifier) stopping() { n.send(daemon.SdNotifyStopping, newsPatience) }

// reloading says that it takes new settings; ready must follow.
func (n *notifier) reloading() {
	n.send(daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec(), newsPatience)
}

// alive says that the service's work goes on.
func (n *notifier) alive() {
	if n.watchdog > 0 {
		n.send(daemon.SdNotifyWatchdog, lifePatience)
	}
}

// tell says in a few words how it is. What was said before is not repeated.
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
		n.log.Warn().Err(err).Msg("cannot tell systemd how we are")
	}
	n.failed = err != nil
	if n.failed {
		n.status = "" // to be told again
	}
}

// send is daemon.SdNotify with a limit to its patience: that would wait for as
// long as systemd does not read.
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
